"""SQL for strangers: an object that answers read-only questions over what was granted, and can't do anything else."""

from __future__ import annotations

import contextlib
import copy
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mlwarehouse.entities import Snapshot
from mlwarehouse.errors import InvalidInputError, SandboxUnavailableError, SqlError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from mlwarehouse.engines.locked_answers import LockedAnswer
    from mlwarehouse.engines.locked_wire import Asked, Bounds
    from mlwarehouse.engines.running import Cancel
    from mlwarehouse.parts.base import Base

MOST_THREADS = 4
"""Threads of one question; more rarely make one faster, and others wait."""

LEAST_MEMORY_BYTES = 64 << 20


class TruncatedWarning(UserWarning):
    """An answer had more rows than the limit, and those behind it were left out."""


@dataclass(frozen=True)
class Answer:
    """The answer to a locked question.

    Attributes:
        rows: The rows, a `pyarrow.Table`; times are UTC microseconds.
        is_truncated: Whether there were more rows than the limit; those behind it are left out.
    """

    rows: pa.Table
    is_truncated: bool


class AnswerStream:
    """The answer to a locked question, as it is given: iterate over its record batches, once.

    Attributes:
        schema: Its columns, a `pyarrow.Schema`; times are UTC microseconds.
    """

    def __init__(self, answer: LockedAnswer) -> None:
        """Give what a worker answers; `LockedSql.stream` is the way to one of these."""
        from mlwarehouse.engines.casting import plain_types

        self._answer = answer
        self.schema: pa.Schema = plain_types(answer.schema.empty_table()).schema

    @property
    def is_truncated(self) -> bool:
        """Whether there were more rows than the limit; known when all batches have come."""
        return self._answer.is_truncated

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches.

        Raises:
            SqlError: The question failed, or a whole number has more than 64 bits.
            SqlLimitError: It took more time, memory or room than it may.
            QueryCancelledError: It was cancelled.
        """
        import pyarrow as pa

        from mlwarehouse.engines.casting import plain_types

        for batch in self._answer:
            try:
                rows = plain_types(pa.Table.from_batches([batch])).cast(self.schema)
            except pa.ArrowInvalid as error:
                # Half-way through a column it can't become one of floats.
                raise SqlError(f"A number doesn't fit: {error}. Cast the column to DOUBLE.") from error
            yield from rows.to_batches()


@dataclass(frozen=True)
class GrantedTable:
    """A table or view that may be asked.

    Attributes:
        name: Its name in SQL.
        kind: ``table``, ``view`` or ``report``.
        purpose: What it answers; for a table, what a row is.
        grain: What one row stands for.
        columns: What each column holds, by name.
    """

    name: str
    kind: str
    purpose: str
    grain: str
    columns: Mapping[str, str]


class LockedSql:
    """Read-only SQL over granted rows, each question in a process of its own that is shut in; see the docs.

    Threads may share it. Close it, or use it as a context manager; workers end with it, and with the process.
    """

    def __init__(
        self,
        warehouse: Base,
        *,
        tables: frozenset[str],
        experiment_ids: tuple[str, ...] | None,
        bounds: Bounds,
        workers: int,
        without_landlock: bool,
    ) -> None:
        """Start the workers; `Warehouse.locked` is the way to one of these."""
        from mlwarehouse.engines.workers import Workers

        self.tables = tables
        self.experiment_ids = experiment_ids
        self.bounds = bounds
        self._warehouse = warehouse
        self._without_landlock = without_landlock
        self._workers = Workers(workers)

    def sql(
        self,
        query: str,
        *,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        dialect: str = "duckdb",
        output_format: str = "pandas",
        as_of: Any = None,
        at: Snapshot | str | None = None,
    ) -> Any:
        """Answer one ``SELECT`` over the granted rows.

        Args:
            query: The question.
            parameters: Values for ``$name`` marks, or a list for marks by position.
            dialect: The SQL dialect it is written in, as for `Warehouse.sql`.
            output_format: ``pandas``, ``arrow`` or ``polars``.
            as_of: Only what was recorded by then, see `Warehouse.reading`.
            at: A snapshot, its text, or the name of a kept one.

        Returns:
            The rows. Where there were more than the limit, those behind it are left out, with a `TruncatedWarning`.

        Raises:
            SqlError: It isn't one allowed ``SELECT`` over granted names, or failed.
            SqlLimitError: It took more time, memory or room than it may.
        """
        from mlwarehouse.query.frames import FRAME_FORMATS, check_format, to_frame

        check_format(output_format, FRAME_FORMATS)
        answer = self.answer(query, parameters=parameters, dialect=dialect, as_of=as_of, at=at)
        if answer.is_truncated:
            warnings.warn(
                f"The answer has more than {self.bounds.rows} rows; those behind are left out.",
                TruncatedWarning,
                stacklevel=2,
            )
        return to_frame(answer.rows, output_format)

    def answer(
        self,
        query: str,
        *,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        dialect: str = "duckdb",
        as_of: Any = None,
        at: Snapshot | str | None = None,
    ) -> Answer:
        """As `sql`, with what a program wants to know beside the rows.

        Raises:
            SqlError: It isn't one allowed ``SELECT`` over granted names, or failed.
            SqlLimitError: It took more time, memory or room than it may.
        """
        from mlwarehouse.engines.casting import plain_types

        asked = self._asked(query, parameters, dialect, as_of, at, self.bounds)
        rows, is_truncated = self._workers.ask(asked)
        return Answer(plain_types(rows), is_truncated)

    @contextlib.contextmanager
    def stream(
        self,
        query: str,
        *,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        dialect: str = "duckdb",
        as_of: Any = None,
        at: Snapshot | str | None = None,
        row_limit: int | None = None,
        cancel: Cancel | None = None,
    ) -> Iterator[AnswerStream]:
        """As `sql`, with the rows as they come; the question ends with the block.

        Args:
            query: As for `sql`.
            parameters: As for `sql`.
            dialect: As for `sql`.
            as_of: As for `sql`.
            at: As for `sql`.
            row_limit: The most rows, where that is fewer than the object's own limit.
            cancel: Ends it from another thread.

        Yields:
            The answer's columns and batches.

        Raises:
            SqlError: It isn't one allowed ``SELECT`` over granted names, or failed.
            SqlLimitError: It took more time, memory or room than it may.
            QueryCancelledError: It was cancelled.
            InvalidInputError: A limit that leaves nothing.
        """
        bounds = self.bounds
        if row_limit is not None:
            if row_limit < 1:
                raise InvalidInputError(f"`row_limit` is {row_limit}; it must be 1 at least.")
            bounds = replace(bounds, rows=min(row_limit, bounds.rows))
        with self._workers.answering(self._asked(query, parameters, dialect, as_of, at, bounds), cancel) as answer:
            yield AnswerStream(answer)

    def _asked(
        self,
        query: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None,
        dialect: str,
        as_of: Any,
        at: Snapshot | str | None,
        bounds: Bounds,
    ) -> Asked:
        from mlwarehouse.engines.embedded_locked import prepare
        from mlwarehouse.engines.locked_wire import Asked
        from mlwarehouse.query.locked import locked_question, translated

        engine = self._warehouse.engine()
        text, values = translated(engine, query, dialect, parameters)
        question = locked_question(text, self.tables, values)
        prepared = prepare(engine, self._warehouse.reading(as_of=as_of, at=at), question, self.experiment_ids)
        return Asked(prepared.text, prepared.relations, bounds, dict(values), self._without_landlock)

    def narrowed(self, experiment_ids: Sequence[str]) -> LockedSql:
        """The same with fewer rows: those of these experiments, in the tables that go with experiments.

        Args:
            experiment_ids: Experiments, all of which this object grants.

        Returns:
            An object that shares the workers of this one, and ends with it.
        """
        made = copy.copy(self)
        made.experiment_ids = tuple(experiment_ids)
        made.tables = self.tables & granted_tables(None, is_restricted=True)
        return made

    def schema(self) -> list[GrantedTable]:
        """What may be asked: each granted table and view with its columns, views first."""
        return [t for t in all_tables() if t.name in self.tables]

    def close(self) -> None:
        """End the workers; questions that are being answered fail."""
        self._workers.close()

    def __enter__(self) -> LockedSql:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def all_tables() -> list[GrantedTable]:
    """All views, reports and tables, described."""
    from mlwarehouse.tables import TABLES
    from mlwarehouse.tables.views import REPORTS, all_views

    described = [
        GrantedTable(v.name, "report" if v.name in REPORTS else "view", v.purpose, v.grain, v.columns)
        for v in all_views()
    ]
    for spec in TABLES:
        columns = {c.name: c.doc for c in spec.all_columns}
        described.append(GrantedTable(spec.name, "table", "Everything that happened, as events.", spec.grain, columns))
    return described


KEPT_BACK = frozenset({"access_events", "access_rights"})
"""Who may do what, which strangers are told only when somebody names it."""


def granted_tables(tables: Sequence[str] | None, *, is_restricted: bool) -> frozenset[str]:
    """The names that may be asked.

    Args:
        tables: Names of tables and views; None means all that go with the experiments, but for `KEPT_BACK`.
        is_restricted: Whether only some experiments are granted.

    Raises:
        InvalidInputError: A name that isn't there.
    """
    if isinstance(tables, str):
        raise InvalidInputError(f"`tables` must be a list; got the text `{tables}`. Write [{tables!r}].")
    known = {t.name for t in all_tables()}
    if tables is None:
        unasked = known - KEPT_BACK
        return frozenset(t for t in unasked if _goes_with_experiments(t)) if is_restricted else frozenset(unasked)
    for name in tables:
        if name not in known:
            raise InvalidInputError(f"There is no table or view `{name}` to grant.{did_you_mean(name, known)}")
    return frozenset(tables)


@cache
def _goes_with_experiments(name: str) -> bool:
    """Whether each row of all that a table or view is made of belongs to one experiment."""
    from mlwarehouse.engines.embedded_locked import SCOPE
    from mlwarehouse.engines.parse import parse_select
    from mlwarehouse.engines.render import needed

    _, below = needed(parse_select(f"SELECT * FROM {name}"))
    return below <= SCOPE.keys()


def bounds_of(*, time_limit_s: float, memory_bytes: int, row_limit: int, result_bytes: int) -> Bounds:
    """The limits of each question.

    Raises:
        InvalidInputError: One that leaves nothing.
    """
    from mlwarehouse.engines.locked_wire import Bounds

    for name, value, least in (
        ("time_limit_s", time_limit_s, 0.001),
        ("memory_bytes", memory_bytes, LEAST_MEMORY_BYTES),
        ("row_limit", row_limit, 1),
        ("result_bytes", result_bytes, 1),
    ):
        if not value >= least:
            raise InvalidInputError(f"`{name}` is {value}; it must be {least} at least.")
    threads = min(MOST_THREADS, os.cpu_count() or 1)
    return Bounds(float(time_limit_s), int(memory_bytes), int(row_limit), int(result_bytes), threads)


def check_sandbox(setting: str) -> None:
    """See that this machine can shut workers in, or that somebody has said to do without.

    Args:
        setting: The setting `locked_sql`.

    Raises:
        SandboxUnavailableError: Neither.
    """
    from mlwarehouse import sandbox

    lacks = sandbox.missing()
    if lacks and setting != "without-landlock":
        raise SandboxUnavailableError(
            f"SQL from strangers is refused: this machine lacks {' and '.join(lacks)}. If the parsed allow-list, "
            "DuckDB's own locks and limits of time and memory are enough for you, set `locked_sql` "
            "(MLWAREHOUSE_LOCKED_SQL) to `without-landlock`."
        )
