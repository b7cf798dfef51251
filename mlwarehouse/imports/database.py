"""Databases that are read alike: SQLite files here, servers in `mlwarehouse.imports.server_database`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from mlwarehouse.imports.base import Oddity
from mlwarehouse.imports.sqlite_file import Columns, open_file

FETCHED = 50_000
"""Rows that are fetched at once."""


class Connection(Protocol):
    """Reads a database, in one state of it as long as it is open."""

    def chunks(self, sql: str, values: Mapping[str, Any], what: str) -> Iterator[list[tuple[Any, ...]]]:
        """Rows in chunks of at most `FETCHED`; what is damaged is told, and the rows before it come.

        Args:
            sql: One `SELECT`, with ``:name`` for values.
            values: The values.
            what: What is read, for what is told.
        """
        ...

    def table(self, name: str) -> list[dict[str, Any]]:
        """All rows of a small table, by column; none where this schema lacks it."""
        ...


class Database(Protocol):
    """A database.

    Attributes:
        columns: What tables and columns it has.
        near: The folder beside which its owner keeps files.
        row_number: What numbers the rows of a table in the order written; None where nothing does.
    """

    columns: Columns
    near: Path
    row_number: str | None

    def quoted(self, name: str) -> str:
        """A name as it stands in SQL, also where it is a word of the language."""
        ...

    def open(self) -> AbstractContextManager[Connection]:
        """Begin to read. Nobody who writes waits for it."""
        ...


class SqliteDatabase:
    """A SQLite file. See `Database`."""

    row_number: str | None = "rowid"

    def __init__(self, path: str, oddities: list[Oddity]) -> None:
        """Look what a file has.

        Args:
            path: The file.
            oddities: Gets what can't be read.

        Raises:
            InvalidInputError: It isn't a SQLite file.
        """
        self._path, self._oddities = path, oddities
        self.near = Path(path).parent
        with closing(open_file(path)) as database:
            self.columns = Columns(database)

    def quoted(self, name: str) -> str:
        """See `Database.quoted`."""
        return f'"{name}"'

    @contextmanager
    def open(self) -> Iterator[Connection]:
        """See `Database.open`."""
        with closing(open_file(self._path)) as database:
            yield _SqliteConnection(database, self.columns, self._oddities)


class _SqliteConnection:
    """See `Connection`."""

    def __init__(self, database: sqlite3.Connection, columns: Columns, oddities: list[Oddity]) -> None:
        self._database, self._columns, self._oddities = database, columns, oddities

    def chunks(self, sql: str, values: Mapping[str, Any], what: str) -> Iterator[list[tuple[Any, ...]]]:
        cursor = self._database.cursor()
        cursor.row_factory = None
        n = 0
        try:
            try:
                cursor.execute(sql, values)
                while chunk := cursor.fetchmany(FETCHED):
                    n += len(chunk)
                    yield chunk
            except sqlite3.OperationalError as error:
                if "decode" not in str(error):
                    raise
                # Once more from there, with a slower way to make text of bytes.
                self._oddities.append(Oddity("not UTF-8", what, f"{error}; what isn't was replaced"))
                self._database.text_factory = _replaced
                cursor.execute(f"SELECT * FROM ({sql}) LIMIT -1 OFFSET {n}", values)
                while chunk := cursor.fetchmany(FETCHED):
                    yield chunk
        except sqlite3.Error as error:
            self._oddities.append(Oddity("table unreadable", what, f"{error}; what comes behind was left out"))

    def table(self, name: str) -> list[dict[str, Any]]:
        if not self._columns.has(name):
            return []
        try:
            return [dict(row) for row in self._database.execute(f"SELECT * FROM {name}")]
        except sqlite3.Error as error:
            self._oddities.append(Oddity("table unreadable", name, str(error)))
            return []


def _replaced(content: bytes) -> str:
    return content.decode("utf-8", "replace")
