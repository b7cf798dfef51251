"""Making kept folds by Spark: for more events than one process folds in reasonable time.

Each task makes the fold of one part of the runs, by the same code as without Spark: it reads the events' files itself
and writes a file. So what Spark moves is names of files, and the driver commits what was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlwarehouse.engines.embedded_fold_parts import FoldParts, PartJob, WrittenPart, fold_alone
from mlwarehouse.engines.spark_errors import reason, spark_failures
from mlwarehouse.errors import StorageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_WRITTEN = "number bigint, path string, size bigint, n_rows bigint, error string"


def folding(spark: SparkSession) -> FoldParts:
    """What `embedded_states.refresh` makes parts with on a Spark session.

    Args:
        spark: A session, classic or Connect, whose workers see the warehouse's folder and have DuckDB.
    """

    def fold(jobs: Sequence[PartJob]) -> list[WrittenPart]:
        rows = pa.table({"number": range(len(jobs)), "job": [job.text() for job in jobs]})
        try:
            # A task a part: they are large, and of different sizes.
            frame = spark.createDataFrame(rows).repartitionByRange(len(jobs), "number")
            told = frame.mapInArrow(_worker(), _WRITTEN).toArrow().sort_by("number").to_pylist()
        except spark_failures() as error:
            raise StorageError(f"Kept folds couldn't be made by Spark: {reason(error)}") from error
        for row in told:
            if row["error"] is not None:
                raise StorageError(f"On a Spark worker {row['error']}")
        written = [WrittenPart(row["path"], row["size"], row["n_rows"]) for row in told]
        _check_seen(jobs, written)
        return written

    return fold


def _worker() -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def fold_all(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            told: list[dict[str, Any]] = []
            for row in batch.to_pylist():
                try:
                    part = fold_alone(PartJob.parse(row["job"]))
                    told.append({"number": row["number"], "path": part.path, "size": part.size, "n_rows": part.n_rows})
                except StorageError as error:
                    told.append({"number": row["number"], "error": str(error)})
            yield pa.RecordBatch.from_pylist(told, schema=_SCHEMA)

    return fold_all


_SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("path", pa.string()),
        ("size", pa.int64()),
        ("n_rows", pa.int64()),
        ("error", pa.string()),
    ]
)


def _check_seen(jobs: Sequence[PartJob], written: Sequence[WrittenPart]) -> None:
    for job, part in zip(jobs, written, strict=True):
        path = Path(job.folder) / part.path
        if not path.is_file() or path.stat().st_size != part.size:
            raise StorageError(
                f"A Spark worker wrote `{part.path}`, and the driver doesn't see it in `{job.folder}`; the warehouse "
                "must be in a folder that driver and workers share."
            )
