"""The embedded engine: delta-rs writes, DuckDB answers; no server, no JVM."""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from mlwarehouse.engines import embedded_commit
from mlwarehouse.engines.base import Appended, Reading, Txn
from mlwarehouse.engines.casting import cast_strict, plain_types
from mlwarehouse.engines.embedded_kept import PREFIX, Kept, KeptHandles, find_kept
from mlwarehouse.engines.embedded_sql import columns_of, no_rows, rows_of_files
from mlwarehouse.engines.embedded_states import derived_folder
from mlwarehouse.engines.embedded_tables import EmbeddedTables, check_known
from mlwarehouse.engines.parse import check_marks
from mlwarehouse.engines.render import Compiled, compiled
from mlwarehouse.engines.running import Running, Watch, answered
from mlwarehouse.errors import CastError, SqlError, StorageError
from mlwarehouse.storage import LocalStorage, Storage
from mlwarehouse.tables import TABLES, TABLES_BY_NAME, TableSpec

_NEWEST = Reading()

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
    """

    name = "embedded"

    def __init__(self, tables_folder: Path | Storage) -> None:
        """Work on the tables under ``tables_folder``; nothing is opened yet."""
        self.tables = EmbeddedTables(tables_folder)
        # In an object store folds aren't kept: a question there is answered from events.
        is_local = isinstance(self.tables.storage, LocalStorage)
        self._kept = KeptHandles(derived_folder(self.tables)) if is_local else None
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._lock = threading.Lock()

    def create_tables(self, specs: Sequence[TableSpec]) -> None:
        """See `Engine.create_tables`."""
        self.tables.create(specs)

    def append(self, spec: TableSpec, rows: Any, *, txns: Sequence[Txn] = ()) -> Appended:
        """See `Engine.append`; ``rows`` is a `pyarrow.Table`."""
        if not isinstance(rows, pa.Table):
            raise CastError(f"Rows for table `{spec.name}` must be a pyarrow.Table; got {type(rows).__name__}.")
        rows = cast_strict(rows, spec)
        if self.has_applied(spec, txns):
            return Appended(self.version(spec), applied=False, n_rows=0)
        place = self.tables.place(spec)
        try:
            files = [embedded_commit.stage(place, rows)] if rows.num_rows else []
        except OSError as error:
            raise StorageError(f"Table `{spec.name}` in `{place.uri}` couldn't be written: {error}") from error
        return embedded_commit.commit(place, spec, files, txns)

    def has_applied(self, spec: TableSpec, txns: Sequence[Txn]) -> bool:
        """Whether a table has the first of these transactions already, so that an append with them adds nothing.

        Raises:
            StorageError: The table isn't there or can't be read.
            UnsupportedTableError: It has features, or columns of a later release, that this one must not write.
        """
        # The look at the table comes first also without transactions: it checks what may be written at all.
        table = self.tables.handle(spec)
        check_known(spec, table)
        return bool(txns) and embedded_commit.has_reached(table.transaction_version(txns[0].app_id), txns[0])

    def version(self, spec: TableSpec) -> int:
        """See `Engine.version`."""
        return self.tables.handle(spec).version()

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
            with self._cursor(asked) as cursor, running.on(cursor):
                return self._executed(cursor, asked, watch).to_arrow_table()

        with _told():
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
                cursor = stack.enter_context(self._cursor(asked))
                with running.on(cursor):
                    reader = self._executed(cursor, asked, watch).to_arrow_reader(batch_rows)
                return stack.pop_all(), cursor, reader

        with _told():
            stack, cursor, reader = answered(begin, watch)

        def following(running: Running) -> pa.RecordBatch | None:
            with running.on(cursor):
                return next(reader, None)

        def rest() -> Iterator[pa.RecordBatch]:
            with stack, _told():
                while (batch := answered(following, watch)) is not None:
                    # Whole numbers beyond 64 bits can't become floats here, half-way through a column: they fail.
                    yield from plain_types(pa.Table.from_batches([batch])).cast(schema).to_batches()

        schema = plain_types(reader.schema.empty_table()).schema
        return pa.RecordBatchReader.from_batches(schema, rest())

    def with_kept(self, reading: Reading) -> Reading:
        """See `Engine.with_kept`."""
        if self._kept is None or reading.as_of is not None or reading.kept is not None:
            return reading
        versions = {spec.name: reading.versions.get(spec.name, -1) for spec in TABLES}
        versions = {n: self.version(TABLES_BY_NAME[n]) if v < 0 else v for n, v in versions.items()}
        kept = find_kept(self._kept, self.tables, versions, reading.overlay)
        return replace(reading, versions=versions, kept=kept)

    def _asked(self, sql: str, reading: Reading, parameters: Mapping[str, Any] | None) -> _Asked:
        question = compiled(sql, dialect="duckdb", prefix=PREFIX, kept=reading.kept is not None)
        kept: Kept | None = None if question.tables <= TABLES_BY_NAME.keys() else reading.kept
        check_marks(question.marks, parameters)
        return _Asked(question, reading, kept, dict(parameters) if parameters else None)

    @contextmanager
    def _cursor(self, asked: _Asked) -> Iterator[duckdb.DuckDBPyConnection]:
        """The connection on which a question is answered, for as long as its answer is read."""
        if asked.kept is None:
            cursor = self._connection_of_all().cursor()
            try:
                yield cursor
            finally:
                cursor.close()
        else:
            with asked.kept.lock:
                yield asked.kept.open(self._connection_of_all())

    def _executed(
        self, cursor: duckdb.DuckDBPyConnection, asked: _Asked, watch: Watch | None
    ) -> duckdb.DuckDBPyConnection:
        if asked.kept is not None:
            asked.kept.prepare(cursor)
        for name in asked.question.tables & TABLES_BY_NAME.keys():
            self._attach(cursor, TABLES_BY_NAME[name], asked.reading)
        if watch is not None and watch.progress is not None:
            # For this connection alone; what it says is asked for, never printed.
            cursor.execute("SET enable_progress_bar = true")
            cursor.execute("SET enable_progress_bar_print = false")
        return cursor.execute(asked.question.text, asked.parameters)

    def close(self) -> None:
        """See `Engine.close`."""
        with self._lock:
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
                        # A name in SQL must never find a variable of the calling program.
                        "python_enable_replacements": "false",
                    }
                )
                connection.execute("SET TimeZone = 'UTC'")
                # Files never change once written, so what was read of their footers stays true.
                connection.execute("SET parquet_metadata_cache = true")
                self._connection = connection
            return self._connection

    def _attach(self, cursor: duckdb.DuckDBPyConnection, spec: TableSpec, reading: Reading) -> None:
        """Make a table visible to one cursor, as a view of its own over files and overlay."""
        version = reading.versions.get(spec.name)
        _, files = self.tables.at(spec, version)
        parts = []
        if files:
            where = f" WHERE recorded_at <= {_moment(reading.as_of)}" if reading.as_of is not None else ""
            parts.append(f"{rows_of_files(spec, files)}{where}")
        overlay = reading.overlay.get(spec.name)
        if overlay is not None and overlay.num_rows and reading.as_of is None:
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


@contextmanager
def _told() -> Iterator[None]:
    """DuckDB's failures as ours; those of a stream come through Arrow."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise SqlError(f"The question failed: {_said(error)}") from error


def _said(error: Exception) -> str:
    """DuckDB's words, on one line, with the names that it holds for possible."""
    lines = str(error).strip().splitlines()
    near = next((line.partition(":")[2] for line in lines if line.startswith("Candidate bindings:")), "")
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(re.findall(r'"([^"]+)"', near)))
    return f"{lines[0]}{f' Did you mean {names}?' if names else ''}"


def _moment(when: dt.datetime) -> str:
    return f"TIMESTAMPTZ '{when.astimezone(dt.UTC).strftime('%Y-%m-%d %H:%M:%S.%f')}+00'"
