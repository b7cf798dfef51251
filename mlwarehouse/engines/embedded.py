"""The embedded engine: delta-rs writes, DuckDB answers; no server, no JVM."""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from mlwarehouse.engines import embedded_commit
from mlwarehouse.engines.base import Appended, Reading, Txn
from mlwarehouse.engines.casting import cast_strict, plain_types
from mlwarehouse.engines.embedded_kept import PREFIX, Kept, KeptHandles, find_kept
from mlwarehouse.engines.embedded_sql import columns_of, no_rows, rows_of_files
from mlwarehouse.engines.embedded_states import REFRESH_COMMITS, derived_folder
from mlwarehouse.engines.embedded_tables import EmbeddedTables, check_known
from mlwarehouse.engines.parse import check_marks
from mlwarehouse.engines.render import Compiled, compiled
from mlwarehouse.errors import CastError, SqlError, StorageError
from mlwarehouse.storage import Storage
from mlwarehouse.tables import TABLES, TABLES_BY_NAME, TableSpec
from mlwarehouse.tables.states import STATES

_NEWEST = Reading()

_FOLDED = frozenset(spec.source for spec in STATES)
"""The event tables that kept folds are of."""


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
        self.wants_folds = False
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
        self, sql: str, *, reading: Reading | None = None, parameters: Mapping[str, Any] | None = None
    ) -> pa.Table:
        """See `Engine.query`."""
        reading = reading or _NEWEST
        kept: Kept | None = reading.kept
        question = compiled(sql, dialect="duckdb", prefix=PREFIX, kept=kept is not None)
        if question.tables <= TABLES_BY_NAME.keys():
            kept = None
        check_marks(question.marks, parameters)
        if reading.kept is None and reading.as_of is None and question.tables & _FOLDED:
            self.wants_folds = self.tables.is_remote
        try:
            if kept is None:
                cursor = self._connection_of_all().cursor()
                try:
                    return self._answer(cursor, question, reading, parameters)
                finally:
                    cursor.close()
            with kept.lock:
                return self._answer(kept.prepare(self._connection_of_all()), question, reading, parameters)
        except duckdb.Error as error:
            raise SqlError(f"The question failed: {_said(error)}") from error

    def with_kept(self, reading: Reading) -> Reading:
        """See `Engine.with_kept`."""
        if reading.as_of is not None or reading.kept is not None:
            return reading
        versions = {spec.name: reading.versions.get(spec.name, -1) for spec in TABLES}
        versions = {n: self.version(TABLES_BY_NAME[n]) if v < 0 else v for n, v in versions.items()}
        kept = find_kept(self._kept, self.tables, versions, reading.overlay)
        if kept is not None and any(len(files) > REFRESH_COMMITS for files in kept.tails.values()):
            self.wants_folds = self.tables.is_remote
        return replace(reading, versions=versions, kept=kept)

    def _answer(
        self,
        cursor: duckdb.DuckDBPyConnection,
        question: Compiled,
        reading: Reading,
        parameters: Mapping[str, Any] | None,
    ) -> pa.Table:
        for name in question.tables & TABLES_BY_NAME.keys():
            self._attach(cursor, TABLES_BY_NAME[name], reading)
        result: pa.Table = cursor.execute(question.text, dict(parameters) if parameters else None).to_arrow_table()
        return plain_types(result)

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


def _said(error: duckdb.Error) -> str:
    """DuckDB's words, on one line, with the names that it holds for possible."""
    lines = str(error).strip().splitlines()
    near = next((line.partition(":")[2] for line in lines if line.startswith("Candidate bindings:")), "")
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(re.findall(r'"([^"]+)"', near)))
    return f"{lines[0]}{f' Did you mean {names}?' if names else ''}"


def _moment(when: dt.datetime) -> str:
    return f"TIMESTAMPTZ '{when.astimezone(dt.UTC).strftime('%Y-%m-%d %H:%M:%S.%f')}+00'"
