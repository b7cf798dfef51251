"""Writing a Spark DataFrame into a table's folder: workers stage files, the driver commits them.

Spark's own commit can overwrite another writer's on a local file system, so Spark never commits. Each worker casts its
rows strictly, writes them by the same `stage` as the embedded engine and syncs them, for only the machine that wrote a
file can force it to disk; what comes back to the driver is a row per file with its statistics.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
        ("table", pa.string()),
        ("path", pa.string()),
        ("size", pa.int64()),
        ("n_rows", pa.int64()),
        ("stats", pa.string()),
        ("counts", pa.string()),
        ("error", pa.string()),
        ("kind", pa.string()),
    ]
)


_TOLD = {kind.__name__: kind for kind in (CastError, SignatureError, InvalidInputError, ModelError)}
"""Errors of workers that are raised again on the driver as what they are."""


@dataclass(frozen=True)
class Made:
    """What a worker has made of some of a task's rows.

    Attributes:
        tables: Rows of tables, by the tables' names.
        counts: Numbers that are added up over all tasks, each task counted once.
    """

    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class MadeByWorkers:
    """Rows that Spark's workers make themselves, so that they never pass through Spark.

    Attributes:
        frame: What each task is told: numbers of its work, or rows.
        make: What a worker makes of it.
    """

    frame: DataFrame
    make: Callable[[Iterator[pa.RecordBatch]], Iterator[Made]]


@dataclass(frozen=True)
class Staged:
    """Files that workers have written, which aren't part of a table yet.

    Attributes:
        files: By the tables' names.
        counts: What workers have counted.
    """

    files: Mapping[str, list[StagedFile]]
    counts: Mapping[str, int]


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
    name = spec.name

    def as_it_is(batches: Iterator[pa.RecordBatch]) -> Iterator[Made]:
        return (Made({name: pa.Table.from_batches([batch])}) for batch in batches)

    return stage_made([(spec, folder)], MadeByWorkers(frame, as_it_is)).files[name]


def stage_made(places: Sequence[tuple[TableSpec, Path]], made: MadeByWorkers) -> Staged:
    """Let Spark's workers write the rows that they make into tables' folders, without making them part of the tables.

    Args:
        places: The tables that rows are made of, with their folders, as for `stage_frame`.
        made: What makes the rows.

    Returns:
        The files, synced; none for a table of which no row was made.

    Raises:
        CastError: A value doesn't fit its declared type without loss; no file stays.
        InvalidInputError: Workers can't mean what they were told; no file stays.
        SignatureError: Rows don't fit a model's signature; no file stays.
        ModelError: A model failed; no file stays.
        StorageError: Rows couldn't be computed or written; no file stays.
    """
    prefix = f"part-{uuid.uuid4()}"
    what = " and ".join(f"`{spec.name}`" for spec, _ in places)
    failures = spark_failures()
    try:
        stager = _stager([(spec, str(folder)) for spec, folder in places], prefix, made.make)
        outcomes = made.frame.mapInArrow(stager, _ddl(_OUTCOME)).toArrow().to_pylist()
        counts: Counter[str] = Counter()
        files: dict[str, list[StagedFile]] = {spec.name: [] for spec, _ in places}
        for outcome in outcomes:
            if outcome["error"] is not None:
                raise _TOLD.get(outcome["kind"], StorageError)(outcome["error"])
            if outcome["counts"] is not None:
                counts.update(json.loads(outcome["counts"]))
            else:
                file = StagedFile(outcome["path"], outcome["size"], outcome["n_rows"], outcome["stats"])
                files[outcome["table"]].append(file)
        for spec, folder in places:
            _check_seen(folder, spec, files[spec.name])
            # A task that was tried twice has left the file of the attempt that didn't count.
            _remove(folder, prefix, keep=frozenset(file.path for file in files[spec.name]))
    except failures as error:
        _remove_all(places, prefix)
        raise StorageError(f"Rows for table {what} couldn't be computed by Spark: {reason(error)}") from error
    except WarehouseError:
        _remove_all(places, prefix)
        raise
    return Staged(files, counts)


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


def _stager(
    places: Sequence[tuple[TableSpec, str]], prefix: str, make: Callable[[Iterator[pa.RecordBatch]], Iterator[Made]]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def stage_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        outcomes: list[dict[str, object]] = []
        counts: Counter[str] = Counter()
        writers = {spec.name: _Writer(spec, Path(folder), prefix) for spec, folder in places}
        try:
            for made in make(batches):
                counts.update(made.counts)
                for name, rows in made.tables.items():
                    outcomes += writers[name].add(rows)
            outcomes += [outcome for writer in writers.values() for outcome in writer.rest()]
            outcomes.append({"counts": json.dumps(counts)})
        except tuple(_TOLD.values()) as error:
            kind = next(name for name, known in _TOLD.items() if isinstance(error, known))
            outcomes = [{"error": str(error), "kind": kind}]
        except OSError as error:
            what = " or ".join(f"table `{spec.name}` into `{folder}`" for spec, folder in places)
            message = f"A Spark worker couldn't write rows of {what}: {error}."
            outcomes = [{"error": message, "kind": StorageError.__name__}]
        yield from pa.Table.from_pylist(outcomes, schema=_OUTCOME).to_batches()

    return stage_partition


class _Writer:
    """Writes a task's rows of one table, a file's worth at a time."""

    def __init__(self, spec: TableSpec, folder: Path, prefix: str) -> None:
        self._spec, self._folder, self._prefix = spec, folder, prefix
        self._held: list[pa.Table] = []
        self._n_held = 0

    def add(self, rows: pa.Table) -> Iterator[dict[str, object]]:
        """Take rows; what was written is told."""
        self._held.append(rows)
        self._n_held += rows.num_rows
        if self._n_held >= ROWS_PER_FILE:
            yield from self.rest()

    def rest(self) -> Iterator[dict[str, object]]:
        """Write what is there."""
        if self._n_held:
            rows = pa.concat_tables(self._held)
            self._held, self._n_held = [], 0
            ordered = _ordered(cast_strict(rows, self._spec), self._spec)
            file = stage(self._folder, ordered, prefix=self._prefix)
            yield {
                "table": self._spec.name,
                "path": file.path,
                "size": file.size,
                "n_rows": file.n_rows,
                "stats": file.stats,
            }


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


def _remove_all(places: Sequence[tuple[TableSpec, Path]], prefix: str) -> None:
    for _, folder in places:
        _remove(folder, prefix)


def _ddl(schema: pa.Schema) -> str:
    names = {pa.string(): "string", pa.int64(): "bigint", pa.bool_(): "boolean"}
    return ", ".join(f"{field.name} {names[field.type]}" for field in schema)
