"""SQLite files of strangers, opened for reading."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from mlwarehouse.errors import InvalidInputError

_MAGIC = b"SQLite format 3\x00"


class Columns:
    """The columns of a database's tables: schemas of different releases differ in them."""

    def __init__(self, found: sqlite3.Connection | Mapping[str, Collection[str]]) -> None:
        """Look them up, or take those that were found."""
        if not isinstance(found, sqlite3.Connection):
            self._found = found
            return
        names = [str(row[0]) for row in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        quoted = {name: name.replace('"', '""') for name in names}
        self._found = {
            name: {str(row[1]) for row in found.execute(f'PRAGMA table_info("{quoted[name]}")')} for name in names
        }

    def has(self, table: str, column: str | None = None) -> bool:
        """Whether there is such a table, or such a column of it."""
        return table in self._found and (column is None or column in self._found[table])


def path_of(place: str) -> str:
    """The path that an address means, with or without ``sqlite:///`` or ``file://`` before it."""
    for prefix in ("sqlite:///", "file://"):
        place = place.removeprefix(prefix)
    return place


def open_file(path: str) -> sqlite3.Connection:
    """Open a file for reading; rows have names.

    Raises:
        InvalidInputError: It isn't a SQLite file.
    """
    try:
        database = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=30)
        database.row_factory = sqlite3.Row
        database.execute("SELECT 1 FROM sqlite_master")
    except sqlite3.Error as error:
        raise InvalidInputError(f"`{path}` can't be read as a SQLite database: {error}.") from error
    return database


def has_tables(place: str, tables: Sequence[str]) -> bool:
    """Whether a place is a SQLite file that has these tables."""
    path = Path(path_of(place))
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return False
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=30)) as database:
            columns = Columns(database)
    except (OSError, sqlite3.Error):
        return False
    return all(map(columns.has, tables))
