"""What an engine is: the few things that the layers above ask of it, the same for each.

An engine appends to the declared tables and answers `SELECT`s over tables and views at one consistent reading.
`embedded` (delta-rs and DuckDB) and `spark` implement it; one contract suite in ``tests/contracts`` runs over both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from mlwarehouse.engines.running import Watch
from mlwarehouse.tables import TableSpec

if TYPE_CHECKING:
    import datetime as dt

    import pyarrow as pa


@dataclass(frozen=True)
class Txn:
    """A Delta application transaction: makes an append happen once, and a change happen first.

    Attributes:
        app_id: Who counts, such as a spool directory's id or ``registry:<bucket>``.
        version: The number this append takes; a table that has reached it already is left alone.
    """

    app_id: str
    version: int


@dataclass(frozen=True)
class Appended:
    """The outcome of an append.

    Attributes:
        version: The table version after it.
        applied: False when the transaction had been recorded before, so that nothing was added.
        n_rows: Rows added.
    """

    version: int
    applied: bool
    n_rows: int


@dataclass(frozen=True)
class Reading:
    """What a question looks at: one consistent state of all tables.

    Attributes:
        versions: Table version by table name; a table that isn't named is read at its newest version.
        as_of: Only rows recorded at or before this moment count; None means all.
        overlay: Rows that are logged and not yet committed, by table name, in the table's Arrow schema.
        kept: An engine's own: the kept folds that go with this reading, so that all questions about it use the same.
    """

    versions: Mapping[str, int] = field(default_factory=dict)
    as_of: dt.datetime | None = None
    overlay: Mapping[str, pa.Table] = field(default_factory=dict)
    kept: Any = field(default=None, compare=False, repr=False)


class Engine(Protocol):
    """The protocol of an engine."""

    name: str

    def create_tables(self, specs: Sequence[TableSpec]) -> None:
        """Create the tables that aren't there; bring older ones up to the declared schema version."""
        ...

    def append(self, spec: TableSpec, rows: Any, *, txns: Sequence[Txn] = ()) -> Appended:
        """Append rows durably and, with `txns`, exactly once.

        Args:
            spec: The table.
            rows: `pyarrow.Table` (each engine) or the engine's own frame, with the table's columns in any order.
            txns: Transaction numbers that go into the same commit. If the table has reached the first one's number,
                nothing is added.

        Returns:
            What happened.

        Raises:
            CastError: A column is missing or unknown, or a value doesn't fit its declared type without loss.
            StorageError: The write failed; nothing was added.
        """
        ...

    def version(self, spec: TableSpec) -> int:
        """The newest version of a table."""
        ...

    def transaction_version(self, spec: TableSpec, app_id: str) -> int | None:
        """The last transaction number that `app_id` recorded in a table, or None."""
        ...

    def state(self, spec: TableSpec, app_id: str) -> tuple[int, int | None]:
        """`version` and `transaction_version` of one and the same snapshot."""
        ...

    def query(
        self, sql: str, *, reading: Reading | None = None, parameters: Mapping[str, Any] | None = None
    ) -> pa.Table:
        """Answer one `SELECT` over tables and views.

        Args:
            sql: One `SELECT` in DuckDB's dialect; table and view names as in the docs; ``$name`` marks a parameter.
            reading: The state to look at; None means the newest committed one.
            parameters: Values for the ``$name`` marks.

        Returns:
            The rows, as Arrow; timestamps are UTC microseconds.

        Raises:
            SqlError: It doesn't parse, isn't a `SELECT`, names something that isn't there, or failed.
        """
        ...

    def with_kept(self, reading: Reading) -> Reading:
        """A reading with all versions named and the kept folds that go with it, where this engine keeps any.

        A reading of a past moment stays as it is: a kept fold doesn't know when a row was recorded.
        """
        ...

    def close(self) -> None:
        """Let go of connections and handles."""
        ...


class WatchedEngine(Engine, Protocol):
    """An engine whose questions can be watched and ended, and whose answers can be had in parts."""

    def query(
        self,
        sql: str,
        *,
        reading: Reading | None = None,
        parameters: Mapping[str, Any] | None = None,
        watch: Watch | None = None,
    ) -> pa.Table:
        """See `Engine.query`.

        Args:
            sql: The question.
            reading: The state to look at.
            parameters: Values for the ``$name`` marks.
            watch: What to tell about its progress, and what ends it before its time.

        Raises:
            SqlError: As for `Engine.query`.
            QueryCancelledError: It was ended before it was answered.
        """
        ...

    def batches(
        self,
        sql: str,
        *,
        reading: Reading | None = None,
        parameters: Mapping[str, Any] | None = None,
        watch: Watch | None = None,
    ) -> pa.RecordBatchReader:
        """Answer as `query` does, a batch of rows at a time: memory doesn't grow with the answer.

        The limits of `watch` hold for the wait for each batch. Errors may come while the stream is read.
        """
        ...
