"""What a table declaration is: columns, grain, order and rules, as data that no engine is needed to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

ColumnType = Literal["string", "long", "integer", "double", "boolean", "timestamp"]
"""The types our tables use: each exists with the same meaning in Arrow, Delta, DuckDB and Spark."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its name.
        type: One of `ColumnType`; ``timestamp`` is UTC microseconds.
        doc: One line for the reader of the docs.
        nullable: Whether a row may lack it.
        since: The schema version that added it; a later column must be nullable, since older rows lack it.
    """

    name: str
    type: ColumnType
    doc: str
    nullable: bool = True
    since: int = 1


ROW_GROUP_ROWS = 256 * 1024
"""Rows of a row group of a table's files, unless the table says otherwise."""

EVENT_ORDER: tuple[str, ...] = ("recorded_at", "writer_id", "writer_seq")
"""The order in which events count: when recorded, then per writer in the order written.

Not `event_at`: a clock that jumps back must not let an older change win over a newer one of the same writer.
"""

ENVELOPE: tuple[Column, ...] = (
    Column("event_at", "timestamp", "When it happened, by the clock of the process that logged it.", nullable=False),
    Column("recorded_at", "timestamp", "When it was recorded; as-of questions compare this.", nullable=False),
    Column("writer_id", "string", "The spool segment or source that wrote the row.", nullable=False),
    Column("writer_seq", "long", "The record's number within its writer; rows of one record share it.", nullable=False),
)
"""The columns every table ends with: who wrote the row, in what order, when it happened, when it was recorded."""


@dataclass(frozen=True)
class TableSpec:
    """The declaration of one append-only Delta table.

    Attributes:
        name: Table name: its folder under ``tables/`` and its name in SQL.
        grain: What one row stands for.
        columns: The table's own columns, without the envelope.
        sort_by: The order of rows within a file, so that min/max statistics prune.
        rules: What writers must and readers may rely on, a sentence each.
        version: Schema version; raised when a column is added.
        row_group_rows: Rows of a row group of its files: fewer where questions are about few rows.
    """

    name: str
    grain: str
    columns: tuple[Column, ...]
    sort_by: tuple[str, ...]
    rules: tuple[str, ...] = ()
    version: int = 1
    row_group_rows: int = ROW_GROUP_ROWS

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The table's own columns, then the envelope, then columns added by later schema versions.

        Delta adds columns at the end, so a declaration keeps that order too.
        """
        first = tuple(c for c in self.columns if c.since == 1)
        later = tuple(sorted((c for c in self.columns if c.since > 1), key=lambda c: c.since))
        return first + ENVELOPE + later

    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema of the table.

        Returns:
            A `pyarrow.Schema` in the order of `all_columns`; ``timestamp`` is ``timestamp[us, tz=UTC]``.
        """
        import pyarrow as pa

        types = {
            "string": pa.string(),
            "long": pa.int64(),
            "integer": pa.int32(),
            "double": pa.float64(),
            "boolean": pa.bool_(),
            "timestamp": pa.timestamp("us", tz="UTC"),
        }
        return pa.schema([pa.field(c.name, types[c.type], nullable=c.nullable) for c in self.all_columns])
