"""Writing a Spark DataFrame into a table's folder: workers stage files, the driver commits them.

Spark's own commit can overwrite another writer's on a local file system, so Spark never commits. Each worker casts its
rows strictly, writes them by the same `stage` as the embedded engine and syncs them, for only the machine that wrote a
file can force it to disk; what comes back to the driver is a row per file with its statistics.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.casting import cast_strict
from mlwarehouse.engines.embedded_commit import StagedFile, stage
from mlwarehouse.engines.spark_errors import reason, spark_failures
from mlwarehouse.errors import CastError, InvalidInputError, ModelError, SignatureError, StorageError, WarehouseError
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
        ("kind", pa.string()),
    ]
)


_TOLD = {kind.__name__: kind for kind in (CastError, SignatureError, InvalidInputError, ModelError)}
"""Errors of workers that are raised again on the driver as what they are."""

MapBatches = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class MadeByWorkers:
    """Rows that Spark's workers make themselves, so that they never pass through Spark.

    Attributes:
        frame: What each task is told, a row a task's work.
        make: What a worker makes of a task's rows: rows of the table.
    """

    frame: DataFrame
    make: MapBatches


def stage_frame(folder: Path, spec: TableSpec, frame: DataFrame | MadeByWorkers) -> list[StagedFile]:
    """Let Spark write a frame's rows into a table's folder, without making them part of the table.

    Args:
        folder: The table's folder, which driver and workers must see under the same path.
        spec: The table.
        frame: The rows; columns in any order, nullable ones may be missing. Or what makes them.

    Returns:
        The files, synced. Empty for a frame without rows.

    Raises:
        CastError: A column is missing or unknown, or a value doesn't fit its declared type without loss; no file stays.
        InvalidInputError: Workers that make rows can't mean what they were told; no file stays.
        ModelError: A model that makes rows failed; no file stays.
        StorageError: The frame couldn't be computed or written; no file stays.
    """
    make = None
    if isinstance(frame, MadeByWorkers):
        make, frame = frame.make, frame.frame
    else:
        cast_strict(_schema(spec, frame).empty_table(), spec)
    prefix = f"part-{uuid.uuid4()}"
    failures = spark_failures()
    try:
        outcomes = frame.mapInArrow(_stager(str(folder), spec, prefix, make), _ddl(_OUTCOME)).toArrow().to_pylist()
        for outcome in outcomes:
            if outcome["error"] is not None:
                raise _TOLD.get(outcome["kind"], StorageError)(outcome["error"])
        files = [StagedFile(o["path"], o["size"], o["n_rows"], o["stats"]) for o in outcomes]
        _check_seen(folder, spec, files)
        # A task that was tried twice has left the file of the attempt that didn't count.
        _remove(folder, prefix, keep=frozenset(file.path for file in files))
    except failures as error:
        _remove(folder, prefix)
        raise StorageError(f"Rows for table `{spec.name}` couldn't be computed by Spark: {reason(error)}") from error
    except WarehouseError:
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


def _stager(folder: str, spec: TableSpec, prefix: str, make: MapBatches | None) -> MapBatches:
    def stage_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        outcomes: list[dict[str, object]] = []
        try:
            for rows in _file_sized(batches if make is None else make(batches)):
                ordered = _ordered(cast_strict(rows, spec), spec)
                file = stage(Path(folder), ordered, prefix=prefix)
                outcomes.append({"path": file.path, "size": file.size, "n_rows": file.n_rows, "stats": file.stats})
        except tuple(_TOLD.values()) as error:
            kind = next(name for name, known in _TOLD.items() if isinstance(error, known))
            outcomes = [{"error": str(error), "kind": kind}]
        except OSError as error:
            message = f"A Spark worker couldn't write rows of table `{spec.name}` into `{folder}`: {error}."
            outcomes = [{"error": message, "kind": StorageError.__name__}]
        yield from pa.Table.from_pylist(outcomes, schema=_OUTCOME).to_batches()

    return stage_partition


def _ordered(rows: pa.Table, spec: TableSpec) -> pa.Table:
    """Rows in the table's order; columns that are the same in all of them needn't be compared."""
    names = [name for name in spec.sort_by if not _is_one(rows.column(name))]
    if not names:
        return rows
    # Arrow doesn't compare text that is dictionary-encoded.
    keys = pa.table({name: rows.column(name).cast(spec.arrow_schema().field(name).type) for name in names})
    return rows.take(pc.sort_indices(keys, [(name, "ascending") for name in names]))


def _is_one(column: pa.ChunkedArray) -> bool:
    """Whether a column is known to have one value; text is looked at only where it is dictionary-encoded."""
    if pa.types.is_dictionary(column.type):
        values = {tuple(chunk.dictionary.to_pylist()) for chunk in column.chunks if len(chunk.dictionary) < 2}
        return len(values) == 1 and not column.null_count and all(len(c.dictionary) < 2 for c in column.chunks)
    if not pa.types.is_integer(column.type):
        return bool(column.null_count == len(column))
    ends = pc.min_max(column).as_py()
    return bool(ends["min"] == ends["max"] and column.null_count in (0, len(column)))


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
