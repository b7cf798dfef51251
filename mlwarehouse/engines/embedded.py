"""The embedded engine: delta-rs writes, DuckDB answers; no server, no JVM."""

from __future__ import annotations

import datetime as dt
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from mlwarehouse.engines import embedded_commit
from mlwarehouse.engines.base import Appended, Late, Reading, RunRows, Txn
from mlwarehouse.engines.casting import cast_strict, plain_types
from mlwarehouse.engines.embedded_kept import PREFIX, Kept, KeptHandles, find_kept
from mlwarehouse.engines.embedded_sql import COMMIT_VERSION, columns_of, no_rows, rows_by_version, rows_of_files, said
from mlwarehouse.engines.embedded_staging import Staging
from mlwarehouse.engines.embedded_states import REFRESH_COMMITS, derived_folder
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.engines.parse import check_marks
from mlwarehouse.engines.render import Compiled, compiled
from mlwarehouse.engines.running import Running, Watch, answered
from mlwarehouse.errors import CastError, FoldsGoneError, SqlError, StorageError
from mlwarehouse.storage import Storage
from mlwarehouse.tables import TABLES, TABLES_BY_NAME, TableSpec
from mlwarehouse.tables.states import STATES

_NEWEST = Reading()

_FOLDED = frozenset(spec.source for spec in STATES)
"""The event tables that kept folds are of."""

BATCH_ROWS = 65_536
"""Rows of a batch of a stream, unless told otherwise."""


@dataclass(frozen=True)
class _Asked:
    """A question with all that its answer depends on."""

    question: Compiled
    reading: Reading
    kept: Kept | None
    parameters: dict[str, Any] | None


class EmbeddedEngine:
    """Reads and writes the tables of a warehouse inside this process.

    Threads may share it; a process forked from one that has used it must build its own.

    Attributes:
        wants_folds: Whether a question read many events of tables in an object store because this machine keeps no
            folds of them, or old ones. Whoever sees to that sets it back.
    """

    name = "embedded"

    def __init__(self, tables_folder: Path | Storage) -> None:
        """Work on the tables under ``tables_folder``; nothing is opened yet."""
        self.tables = EmbeddedTables(tables_folder)
        self._kept = KeptHandles(derived_folder(self.tables))
        self._last_kept: Kept | None = None
        self.wants_folds = False
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._lock = threading.Lock()

    def create_tables(self, specs: Sequence[TableSpec]) -> None:
        """See `Engine.create_tables`."""
        self.tables.create(specs)

    def append(self, spec: TableSpec, rows: Any, *, txns: Sequence[Txn] = (), holding: Sequence[Txn] = ()) -> Appended:
        """See `Engine.append`; ``rows`` is a `pyarrow.Table`."""
        if not isinstance(rows, pa.Table):
            raise CastError(f"Rows for table `{spec.name}` must be a pyarrow.Table; got {type(rows).__name__}.")
        rows = cast_strict(rows, spec)
        if self.has_applied(spec, txns):
            return Appended(self.version(spec), applied=False, n_rows=0)
        place = self.tables.place(spec)
        try:
            files = [embedded_commit.stage(place, rows, row_group_rows=spec.row_group_rows)] if rows.num_rows else []
        except OSError as error:
            raise StorageError(f"Table `{spec.name}` in `{place.uri}` couldn't be written: {error}") from error
        return embedded_commit.commit(place, spec, files, txns, holding=holding, log=self.tables.log(spec))

    def append_late(self, spec: TableSpec, rows: Any, decide: Callable[[], Late | None]) -> Appended:
        """See `Engine.append_late`; ``rows`` is a `pyarrow.Table`."""
        if not isinstance(rows, pa.Table):
            raise CastError(f"Rows for table `{spec.name}` must be a pyarrow.Table; got {type(rows).__name__}.")
        return embedded_commit.commit_late(
            self.tables.place(spec), spec, cast_strict(rows, spec), decide, log=lambda: self.tables.log(spec)
        )

    def staging(self, spec: TableSpec) -> Staging:
        """What takes rows of a table in parts, and makes them one commit."""
        return Staging(self.tables.place(spec), spec, lambda: self.tables.log(spec))

    def has_applied(self, spec: TableSpec, txns: Sequence[Txn]) -> bool:
        """See `EmbeddedTables.has_applied`."""
        return self.tables.has_applied(spec, txns)

    def version(self, spec: TableSpec) -> int:
        """See `Engine.version`."""
        return self.tables.version(spec)

    def transaction_version(self, spec: TableSpec, app_id: str) -> int | None:
        """See `Engine.transaction_version`."""
        return self.tables.handle(spec).transaction_version(app_id)

    def state(self, spec: TableSpec, app_id: str) -> tuple[int, int | None]:
        """See `Engine.state`."""
        return self.tables.state(spec, app_id)

    def query(
        self,
        sql: str,
        *,
        reading: Reading | None = None,
        parameters: Mapping[str, Any] | None = None,
        watch: Watch | None = None,
    ) -> pa.Table:
        """See `WatchedEngine.query`."""
        asked = self._asked(sql, reading or _NEWEST, parameters)

        def work(running: Running) -> pa.Table:
            with self._cursor() as cursor, running.on(cursor):
                self._prepare(cursor, asked, watch)
                text, parameters = asked.question.text, asked.parameters
                if parameters is None:
                    # Rows become Arrow in all threads; those of a text with parameters in one.
                    return cursor.sql(text).to_arrow_table()
                _hold_all(cursor)
                return cursor.execute(text, parameters).to_arrow_table()

        with self._told(asked.kept):
            return plain_types(answered(work, watch))

    def batches(
        self,
        sql: str,
        *,
        reading: Reading | None = None,
        parameters: Mapping[str, Any] | None = None,
        watch: Watch | None = None,
        batch_rows: int = BATCH_ROWS,
    ) -> pa.RecordBatchReader:
        """See `WatchedEngine.batches`."""
        asked = self._asked(sql, reading or _NEWEST, parameters)

        def begin(running: Running) -> tuple[ExitStack, duckdb.DuckDBPyConnection, pa.RecordBatchReader]:
            with ExitStack() as stack:
                cursor = stack.enter_context(self._cursor())
                with running.on(cursor):
                    self._prepare(cursor, asked, watch)
                    if "UNION" in asked.question.text:
                        _hold_all(cursor)
                    executed = cursor.execute(asked.question.text, asked.parameters)
                    reader = executed.to_arrow_reader(batch_rows)
                return stack.pop_all(), cursor, reader

        with self._told(asked.kept):
            stack, cursor, reader = answered(begin, watch)

        def following(running: Running) -> pa.RecordBatch | None:
            with running.on(cursor):
                return next(reader, None)

        def rest() -> Iterator[pa.RecordBatch]:
            with stack, self._told(asked.kept):
                while (batch := answered(following, watch)) is not None:
                    # Whole numbers beyond 64 bits can't become floats here, half-way through a column: they fail.
                    yield from plain_types(pa.Table.from_batches([batch])).cast(schema).to_batches()

        schema = plain_types(reader.schema.empty_table()).schema
        return pa.RecordBatchReader.from_batches(schema, rest())

    def with_kept(self, reading: Reading) -> Reading:
        """See `Engine.with_kept`."""
        if reading.kept is not None or reading.as_of is not None or reading.since is not None:
            return reading
        versions = {spec.name: reading.versions.get(spec.name, -1) for spec in TABLES}
        versions = {n: self.version(TABLES_BY_NAME[n]) if v < 0 else v for n, v in versions.items()}
        kept = find_kept(self._kept, self.tables, versions, reading.overlay)
        if kept is not None and any(len(files) > REFRESH_COMMITS for files in kept.tails.values()):
            self.wants_folds = self.tables.is_remote
        last = self._last_kept
        if kept is not None and last is not None and kept.is_same(last):
            kept = last
        self._last_kept = kept
        return replace(reading, versions=versions, kept=kept)

    def keeps_rows(self, reading: Reading) -> bool:
        """See `Engine.keeps_rows`."""
        return reading.kept is not None

    def rows_of_runs(self, reading: Reading, numbers: pa.Array, kinds: Sequence[str]) -> RunRows:
        """See `Engine.rows_of_runs`."""
        kept: Kept = reading.kept
        return kept.pages.rows(numbers, kinds, kept.touched)

    def row_of_run(self, reading: Reading, run_id: str) -> Mapping[str, Any] | None:
        """See `Engine.row_of_run`."""
        kept: Kept | None = reading.kept
        return None if kept is None or run_id in kept.touched else kept.pages.row(run_id)

    def kept_rows(self, kept: Kept, text: str) -> pa.Table:
        """Rows of the tables that go with kept folds, by SQL of our own over their names.

        Raises:
            StorageError: They can't be read.
        """
        try:
            with self._cursor() as cursor:
                kept.prepare(cursor, self._connection_of_all())
                return cursor.execute(text).to_arrow_table()
        except duckdb.Error as error:
            self._check_folds(error)
            raise StorageError(f"Kept folds can't be read: {said(error)}") from error

    def _asked(self, sql: str, reading: Reading, parameters: Mapping[str, Any] | None) -> _Asked:
        kept: Kept | None = reading.kept
        # By a variable of the connection's, so that the same question at another moment is the same text.
        now = None if reading.now is None else "GETVARIABLE('mlw_now')"
        unsettled = None if kept is None else kept.unsettled
        question = compiled(sql, dialect="duckdb", prefix=PREFIX, kept=unsettled, now=now)
        if question.tables <= TABLES_BY_NAME.keys():
            kept = None
        check_marks(question.marks, parameters)
        if reading.kept is None and reading.as_of is None and reading.since is None and question.tables & _FOLDED:
            self.wants_folds = self.tables.is_remote
        return _Asked(question, reading, kept, dict(parameters) if parameters else None)

    @contextmanager
    def _told(self, kept: Kept | None) -> Iterator[None]:
        """DuckDB's failures as ours; those of a stream come through Arrow."""
        try:
            yield
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            if kept is not None:
                self._check_folds(error)
            raise SqlError(f"The question failed: {said(error)}") from error

    def _check_folds(self, error: Exception) -> None:
        """See whether something failed because kept folds have been dropped meanwhile.

        Raises:
            FoldsGoneError: It did.
        """
        if isinstance(error, duckdb.IOException) and str(derived_folder(self.tables)) in str(error):
            raise FoldsGoneError("Kept folds were dropped while a question was answered from them; ask again.")

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection on which a question is answered, for as long as its answer is read."""
        cursor = self._connection_of_all().cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def _prepare(self, cursor: duckdb.DuckDBPyConnection, asked: _Asked, watch: Watch | None) -> None:
        """Let a connection see what a question asks for."""
        if asked.kept is not None:
            asked.kept.prepare(cursor, self._connection_of_all())
        for name in asked.question.tables & TABLES_BY_NAME.keys():
            self._attach(cursor, TABLES_BY_NAME[name], asked.reading)
        if asked.reading.now is not None:
            cursor.execute(f"SET VARIABLE mlw_now = {moment_text(asked.reading.now)}")
        if watch is not None and watch.progress is not None:
            # For this connection alone; what it says is asked for, never printed.
            cursor.execute("SET enable_progress_bar = true")
            cursor.execute("SET enable_progress_bar_print = false")

    def close(self) -> None:
        """See `Engine.close`."""
        with self._lock:
            self._last_kept = None
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _connection_of_all(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._connection is None:
                connection = duckdb.connect(
                    config={
                        "autoinstall_known_extensions": "false",
                        "autoload_known_extensions": "false",
                        # The system caches files, and gives the memory back.
                        "enable_external_file_cache": "false",
                        # A name in SQL must never find a variable of the calling program.
                        "python_enable_replacements": "false",
                    }
                )
                connection.execute("SET TimeZone = 'UTC'")
                _bound(connection)
                # Files never change once written, so what was read of their footers stays true.
                connection.execute("SET parquet_metadata_cache = true")
                self._connection = connection
            return self._connection

    def _attach(self, cursor: duckdb.DuckDBPyConnection, spec: TableSpec, reading: Reading) -> None:
        """Make a table visible to one cursor, as a view of its own over files and overlay."""
        parts = []
        overlay = reading.instead.get(spec.name)
        if overlay is None:
            version = reading.versions.get(spec.name)
            if reading.since is not None:
                rows = self._since(spec, reading.since.get(spec.name, -1), version)
                cursor.execute(f"CREATE OR REPLACE TEMP VIEW mlw_table_{spec.name} AS {rows}")
                return
            _, files = self.tables.at(spec, version)
            if files:
                where = f" WHERE recorded_at <= {moment_text(reading.as_of)}" if reading.as_of is not None else ""
                parts.append(f"{rows_of_files(spec, files)}{where}")
            overlay = reading.overlay.get(spec.name) if reading.as_of is None else None
        if overlay is not None and overlay.num_rows:
            columns = columns_of(spec)
            cursor.register(f"mlw_arrow_{spec.name}", overlay)
            # As a table of DuckDB's own: a join sends bloom filters into its scans, and a scan of Arrow memory refuses
            # them. It goes with the cursor.
            cursor.execute(
                f"CREATE OR REPLACE TEMP TABLE mlw_overlay_{spec.name} AS SELECT {columns} FROM mlw_arrow_{spec.name}"
            )
            parts.append(f"SELECT {columns} FROM mlw_overlay_{spec.name}")
        if not parts:
            parts.append(no_rows(spec))
        cursor.execute(f"CREATE OR REPLACE TEMP VIEW mlw_table_{spec.name} AS {' UNION ALL '.join(parts)}")

    def _since(self, spec: TableSpec, after: int, version: int | None) -> str:
        """A query for the rows that came after a version; -1 means all, whatever their versions were."""
        if after < 0:
            newest, files = self.tables.at(spec, version)
            return f"SELECT *, {newest} AS {COMMIT_VERSION} FROM ({rows_of_files(spec, files)})"
        until = self.version(spec) if version is None else version
        return rows_by_version(spec, self.tables.added(spec, after, until))


def _bound(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave memory to the program that asks, and spill what doesn't fit where temporary files belong.

    DuckDB would take four fifths of the machine (or of the container) and spill into the working directory.
    """
    row = connection.execute("SELECT current_setting('memory_limit')").fetchone()
    assert row is not None
    amount, unit = row[0].split()
    connection.execute(f"SET memory_limit = '{float(amount) * 5 / 8:.1f} {unit}'")
    place = Path(tempfile.gettempdir()) / f"mlwarehouse-{secrets.token_hex(8)}"
    connection.execute("SET temp_directory = $place", {"place": str(place)})


def _hold_all(cursor: duckdb.DuckDBPyConnection) -> None:
    """Let an answer wait whole for who reads it.

    DuckDB (1.4 to 1.5.6) waits for ever where a union's answer doesn't fit into this buffer.
    """
    cursor.execute("SET streaming_buffer_size = '1TB'")


def moment_text(when: dt.datetime) -> str:
    """A moment in DuckDB's SQL."""
    return f"TIMESTAMPTZ '{when.astimezone(dt.UTC).strftime('%Y-%m-%d %H:%M:%S.%f')}+00'"
