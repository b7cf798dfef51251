"""Writing a Spark DataFrame into a table's folder: workers stage files, the driver commits them.

Spark's own commit can overwrite another writer's on a local file system, so Spark never commits. Each worker casts its
rows strictly, writes them by the same `stage` as the embedded engine and syncs them, for only the machine that wrote a
file can force it to disk; what comes back to the driver is a row per file with its statistics.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from mlwarehouse.engines.casting import cast_strict
from mlwarehouse.engines.embedded_commit import StagedFile, stage
from mlwarehouse.engines.spark_errors import reason, spark_failures
from mlwarehouse.errors import CastError, StorageError
from mlwarehouse.tables import TableSpec

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ROWS_PER_FILE = 1_000_000
"""A worker's rows are held in memory until this many are there, so that each file is sorted as a whole."""

_OUTCOME = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("n_rows", pa.int64()),
        ("stats", pa.string()),
        ("error", pa.string()),
        ("is_cast_error", pa.bool_()),
    ]
)


def stage_frame(folder: Path, spec: TableSpec, frame: DataFrame) -> list[StagedFile]:
    """Let Spark write a frame's rows into a table's folder, without making them part of the table.

    Args:
        folder: The table's folder, which driver and workers must see under the same path.
        spec: The table.
        frame: The rows; columns in any order, nullable ones may be missing.

    Returns:
        The files, synced. Empty for a frame without rows.

    Raises:
        CastError: A column is missing or unknown, or a value doesn't fit its declared type without loss; no file stays.
        StorageError: The frame couldn't be computed or written; no file stays.
    """
    cast_strict(_schema(spec, frame).empty_table(), spec)
    prefix = f"part-{uuid.uuid4()}"
    failures = spark_failures()
    try:
        outcomes = frame.mapInArrow(_stager(str(folder), spec, prefix), _ddl(_OUTCOME)).toArrow().to_pylist()
        for outcome in outcomes:
            if outcome["error"] is not None:
                raise (CastError if outcome["is_cast_error"] else StorageError)(outcome["error"])
        files = [StagedFile(o["path"], o["size"], o["n_rows"], o["stats"]) for o in outcomes]
        _check_seen(folder, spec, files)
        # A task that was tried twice has left the file of the attempt that didn't count.
        _remove(folder, prefix, keep=frozenset(file.path for file in files))
    except failures as error:
        _remove(folder, prefix)
        raise StorageError(f"Rows for table `{spec.name}` couldn't be computed by Spark: {reason(error)}") from error
    except (CastError, StorageError):
        _remove(folder, prefix)
        raise
    return files


def _schema(spec: TableSpec, frame: DataFrame) -> pa.Schema:
    from pyspark.sql.pandas.types import to_arrow_schema

    names = frame.columns
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CastError(f"Rows for table `{spec.name}` have the column `{twice[0]}` twice; rename or drop one.")
    try:
        return to_arrow_schema(frame.schema, timezone="UTC")
    except spark_failures() as error:
        raise CastError(f"Rows for table `{spec.name}` have a type that no table has: {reason(error)}") from error


_MapBatches = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def _stager(folder: str, spec: TableSpec, prefix: str) -> _MapBatches:
    def stage_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        outcomes: list[dict[str, object]] = []
        try:
            for rows in _file_sized(batches):
                ordered = cast_strict(rows, spec).sort_by([(name, "ascending") for name in spec.sort_by])
                file = stage(Path(folder), ordered, prefix=prefix)
                outcomes.append({"path": file.path, "size": file.size, "n_rows": file.n_rows, "stats": file.stats})
        except CastError as error:
            outcomes = [{"error": str(error), "is_cast_error": True}]
        except OSError as error:
            message = f"A Spark worker couldn't write rows of table `{spec.name}` into `{folder}`: {error}."
            outcomes = [{"error": message, "is_cast_error": False}]
        yield from pa.Table.from_pylist(outcomes, schema=_OUTCOME).to_batches()

    return stage_partition


def _file_sized(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    n_rows = 0
    for batch in batches:
        held.append(batch)
        n_rows += batch.num_rows
        if n_rows >= ROWS_PER_FILE:
            yield pa.Table.from_batches(held)
            held, n_rows = [], 0
    if n_rows:
        yield pa.Table.from_batches(held)


def _check_seen(folder: Path, spec: TableSpec, files: list[StagedFile]) -> None:
    for file in files:
        path = folder / file.path
        if not path.is_file() or path.stat().st_size != file.size:
            raise StorageError(
                f"A Spark worker wrote `{file.path}` for table `{spec.name}`, and the driver doesn't see it in "
                f"`{folder}`; the warehouse must be in a folder that driver and workers share."
            )


def _remove(folder: Path, prefix: str, *, keep: frozenset[str] = frozenset()) -> None:
    for path in folder.glob(f"{prefix}-*"):
        if path.name not in keep:
            path.unlink(missing_ok=True)


def _ddl(schema: pa.Schema) -> str:
    names = {pa.string(): "string", pa.int64(): "bigint", pa.bool_(): "boolean"}
    return ", ".join(f"{field.name} {names[field.type]}" for field in schema)
