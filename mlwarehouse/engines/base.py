"""What an engine is: the few things that the layers above ask of it, the same for each.

An engine appends to the declared tables and answers `SELECT`s over tables and views at one consistent reading.
`embedded` (delta-rs and DuckDB) and `spark` implement it; one contract suite in ``tests/contracts`` runs over both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from mlwarehouse.engines.running import Watch
from mlwarehouse.tables import TableSpec

if TYPE_CHECKING:
    import datetime as dt

    import numpy as np
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
class Late:
    """What goes into a commit whose rows are written.

    Attributes:
        txns: See `Engine.append`.
        holding: See `Engine.append`.
    """

    txns: Sequence[Txn] = ()
    holding: Sequence[Txn] = ()


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
        since: Only rows that came after these versions, by table name, and before `versions`; a table that isn't named
            has all its rows. Tables then also have a column ``_commit_version``, the version that a row came with (the
            newest one for a table that isn't named), and ``as_of``, ``overlay`` and views don't count. None means that
            rows count whenever they came.
        as_of: Only rows recorded at or before this moment count; None means all.
        now: The moment that counts as the present, for what depends on it, such as `runs.is_lost`; None means the
            clock's.
        overlay: Rows that are logged and not yet committed, by table name, in the table's Arrow schema.
        instead: Rows that a table has in place of its own, by table name, in the table's Arrow schema: what views say
            when there is nothing else. For these tables all of the above doesn't count.
        kept: An engine's own: the kept folds that go with this reading, so that all questions about it use the same.
    """

    versions: Mapping[str, int] = field(default_factory=dict)
    since: Mapping[str, int] | None = None
    as_of: dt.datetime | None = None
    now: dt.datetime | None = None
    overlay: Mapping[str, pa.Table] = field(default_factory=dict)
    instead: Mapping[str, pa.Table] = field(default_factory=dict)
    kept: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class RunRows:
    """What some runs have, read from where an engine keeps it run by run.

    Attributes:
        found: For each run that was asked for, whether it is in here with all that it has; of shape [n].
        runs: A row for each found run, in the order asked: ``run_id`` and columns of the view `runs`.
        metrics: Latest values: ``number``, ``key`` (the series; dictionary-encoded text), ``value`` (float64).
        params: The same of params, whose values are text.
        tags: The same of tags.
    """

    found: np.ndarray[Any, Any]
    runs: pa.Table
    metrics: pa.Table
    params: pa.Table
    tags: pa.Table


class Engine(Protocol):
    """The protocol of an engine."""

    name: str

    def create_tables(self, specs: Sequence[TableSpec]) -> None:
        """Create the tables that aren't there; bring older ones up to the declared schema version."""
        ...

    def append(self, spec: TableSpec, rows: Any, *, txns: Sequence[Txn] = (), holding: Sequence[Txn] = ()) -> Appended:
        """Append rows durably and, with `txns`, exactly once.

        Args:
            spec: The table.
            rows: `pyarrow.Table` (each engine) or the engine's own frame, with the table's columns in any order.
            txns: Transaction numbers that go into the same commit. If the table has reached any of them, nothing is
                added.
            holding: Numbers that this append was decided on. If one isn't the last that its application recorded, 0
                where it recorded none, nothing is added.

        Returns:
            What happened.

        Raises:
            CastError: A column is missing or unknown, or a value doesn't fit its declared type without loss.
            StorageError: The write failed; nothing was added.
        """
        ...

    def append_late(self, spec: TableSpec, rows: Any, decide: Callable[[], Late | None]) -> Appended:
        """Append rows whose transactions are decided once the rows are written, and anew after each refusal.

        For many rows, which take longer to write than others leave a table alone.

        Args:
            spec: The table.
            rows: As for `append`.
            decide: Says what goes into the commit; None gives up, and nothing is added. What it raises is passed on.

        Returns:
            What happened.

        Raises:
            CastError: As for `append`.
            StorageError: As for `append`.
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

    def keeps_rows(self, reading: Reading) -> bool:
        """Whether `rows_of_runs` has anything for a reading: then a run's number is an integer."""
        ...

    def rows_of_runs(self, reading: Reading, numbers: pa.Array, kinds: Sequence[str]) -> RunRows:
        """What some runs have, of those for which it is kept run by run and nothing newer is known.

        Args:
            reading: A state for which `keeps_rows`.
            numbers: The runs' numbers in it.
            kinds: Which of ``metrics``, ``params`` and ``tags`` are wanted; the others stay empty.
        """
        ...

    def row_of_run(self, reading: Reading, run_id: str) -> Mapping[str, Any] | None:
        """All about one run, where this engine keeps it in one place and nothing newer is known.

        Args:
            reading: The state to look at.
            run_id: The run's id.

        Returns:
            ``run_id``, columns of the view `runs`, and ``metrics``, ``params`` and ``tags`` as dictionaries; None where
            the views must be asked.
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
