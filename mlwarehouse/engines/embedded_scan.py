"""Somebody's table as pieces of Parquet files, each of which any process reads by itself.

A piece is small enough to go with a task's text: the name of a file, which of its row groups, and the values that its
partition has.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from mlwarehouse.engines.embedded_schema import maps_columns

PIECE_BYTES = 16 << 20
"""Bytes of a file that make a piece, where its row groups allow that."""

TASK_BYTES = 4 << 20
"""Bytes below which no further task is worth its start."""

_READ_BY_ROW = frozenset({"deletionVectors", "columnMapping"})
"""Features with which a table's rows aren't those that its files hold under its columns' names."""


@dataclass(frozen=True)
class Piece:
    """Some row groups of a file: of each `of`, the one numbered `number`.

    Attributes:
        path: The file.
        number: From 0.
        of: Pieces that the file makes.
        size: About how many bytes it has.
        fixed: Columns that aren't in the file, and have one value in all its rows.
    """

    path: str
    number: int = 0
    of: int = 1
    size: int = 0
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def batches(self, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Read it.

        Args:
            schema: The columns to read, in the table's types. One that the file lacks has its fixed value, or is null.
            batch_rows: At most so many rows come at once.

        Raises:
            OSError: The file can't be read.
            pa.ArrowException: It isn't what the table says.
        """
        with pq.ParquetFile(self.path) as file:
            groups = range(self.number, file.num_row_groups, self.of)
            there = [name for name in schema.names if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_rows, row_groups=groups, columns=there):
                yield self._whole(batch, schema)

    def _whole(self, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        if batch.schema.names == schema.names and batch.schema.types == schema.types:
            return batch
        columns = [
            batch.column(f.name).cast(f.type)
            if f.name in batch.schema.names
            else pa.repeat(pa.scalar(self.fixed.get(f.name), f.type), batch.num_rows)
            for f in schema
        ]
        return pa.record_batch(columns, schema=pa.schema([(f.name, f.type) for f in schema]))


@dataclass(frozen=True)
class Scan:
    """A table whose files hold its rows as they are.

    Attributes:
        schema: Its columns.
        pieces: All of its rows, in pieces of about one size.
        version: The Delta table's version, or None for a file.
    """

    schema: pa.Schema
    pieces: Sequence[Piece]
    version: int | None


def scan(path: Path, *, version: int | None = None) -> Scan | None:
    """Look at a table's files; they aren't read yet.

    Args:
        path: A ``.parquet`` file, or the folder of a Delta table.
        version: The Delta table's version; None for a file.

    Returns:
        The files; None for a table that can't be read so: one with deletion vectors, mapped columns or other features
        that change what a file's rows mean, or another kind of file. Spark's own reader knows them.
    """
    try:
        if version is None:
            return Scan(pq.read_schema(path), _pieces(str(path), {}), None) if path.suffix == ".parquet" else None
        table = DeltaTable(path, version=version)
        if maps_columns(table) or _READ_BY_ROW & set(table.protocol().reader_features or ()):
            return None
        # It refuses all features that it doesn't know.
        dataset = table.to_pyarrow_dataset()
        pieces = [
            piece
            for fragment in dataset.get_fragments()
            for piece in _pieces(
                str(path / fragment.path), pyarrow.dataset.get_partition_keys(fragment.partition_expression)
            )
        ]
    except (DeltaError, pa.ArrowException, OSError):
        # Spark's reader knows it, or says in its own words what is wrong.
        return None
    return Scan(dataset.schema, pieces, version)


def spread(pieces: Sequence[Piece], n_tasks: int) -> list[list[Piece]]:
    """Spread pieces over tasks of about the same size: the largest first, each to the task that has the least.

    Args:
        pieces: The pieces.
        n_tasks: At most so many tasks; fewer where they would be too small to be worth it.
    """
    total = sum(piece.size for piece in pieces)
    n = max(1, min(n_tasks, len(pieces), -(-total // TASK_BYTES)))
    tasks: list[list[Piece]] = [[] for _ in range(n)]
    heap = [(0, number) for number in range(n)]
    for piece in sorted(pieces, key=lambda p: -p.size):
        size, number = heapq.heappop(heap)
        tasks[number].append(piece)
        heapq.heappush(heap, (size + piece.size, number))
    return [task for task in tasks if task]


def _pieces(path: str, fixed: Mapping[str, Any]) -> list[Piece]:
    size = Path(path).stat().st_size
    of = min(pq.read_metadata(path).num_row_groups, -(-size // PIECE_BYTES)) if size > PIECE_BYTES else 1
    return [Piece(path, number, of, size // of, fixed) for number in range(of)]
