"""Databases of servers, by SQLAlchemy: PostgreSQL and MySQL; rows are fetched as they are read, not all at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import InvalidInputError, MissingDependencyError, StorageError
from mlwarehouse.imports.database import FETCHED, Connection
from mlwarehouse.imports.sqlite_file import Columns

if TYPE_CHECKING:
    import sqlalchemy

DRIVERS: Mapping[str, str] = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
"""By the beginning of an address, the driver that is taken where the address names none."""

_ADDRESS = re.compile(r"(postgres|postgresql|mysql|mariadb|sqlite)(\+\w+)?://")


def is_address(place: str) -> bool:
    """Whether a place is the address of a database that SQLAlchemy opens; a plain ``sqlite:///`` isn't."""
    match = _ADDRESS.match(place)
    return match is not None and (match[1] != "sqlite" or match[2] is not None)


class ServerDatabase:
    """A database at an address. See `Database`.

    Attributes:
        place: The address without user, password and driver, in one form.
    """

    row_number: str | None = None

    def __init__(self, address: str) -> None:
        """Look what a database has.

        Args:
            address: As SQLAlchemy takes it, such as ``postgresql://user:password@host/mlflow``.

        Raises:
            MissingDependencyError: SQLAlchemy or the driver isn't there.
            InvalidInputError: The address can't be understood, or nobody answers there.
        """
        try:
            import sqlalchemy as sa

            scheme, _, rest = address.partition("://")
            url = sa.make_url(f"{DRIVERS.get(scheme, scheme)}://{rest}")
            where = {name: value for name, value in url.query.items() if name in ("host", "port", "unix_socket")}
            self.place = sa.URL.create(
                url.get_backend_name(), host=url.host, port=url.port, database=url.database, query=where
            ).render_as_string()
            # Nothing is kept open between ranges of runs.
            self._engine = sa.create_engine(url, poolclass=sa.NullPool)
            with self._engine.connect() as connection:
                looked = sa.inspect(connection)
                names = looked.get_table_names()
                self.columns = Columns({name: {str(c["name"]) for c in looked.get_columns(name)} for name in names})
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"Databases of servers need `{error.name}`, which isn't installed; run "
                '`pip install "mlwarehouse[databases]"`.'
            ) from error
        except (sa.exc.ArgumentError, ValueError):
            # Not what it says: it may have a password.
            raise InvalidInputError(
                "The database's address can't be understood; write it as postgresql://user:password@host:5432/mlflow."
            ) from None
        except sa.exc.SQLAlchemyError as error:
            raise InvalidInputError(f"`{self.place}` can't be opened: {_said(error)}") from error
        self.near = Path.cwd()

    def quoted(self, name: str) -> str:
        """See `Database.quoted`."""
        return str(self._engine.dialect.identifier_preparer.quote_identifier(name))

    @contextmanager
    def open(self) -> Iterator[Connection]:
        """See `Database.open`.

        Raises:
            StorageError: The connection broke.
        """
        import sqlalchemy as sa

        # All that is read of some runs is of one moment.
        level = "SERIALIZABLE" if self._engine.dialect.name == "sqlite" else "REPEATABLE READ"
        try:
            with self._engine.connect().execution_options(isolation_level=level) as connection:
                yield _ServerConnection(connection, self)
        except sa.exc.SQLAlchemyError as error:
            raise StorageError(f"`{self.place}` can't be read: {_said(error)}. Import again to go on.") from error


class _ServerConnection:
    """See `Connection`; an error is passed on: what comes behind it may be all there is."""

    def __init__(self, connection: sqlalchemy.Connection, database: ServerDatabase) -> None:
        self._connection, self._database = connection, database

    def chunks(self, sql: str, values: Mapping[str, Any], what: str) -> Iterator[list[tuple[Any, ...]]]:
        del what
        found = self._asked(sql, values)
        for chunk in found.partitions(FETCHED):
            yield [tuple(row) for row in chunk]

    def table(self, name: str) -> list[dict[str, Any]]:
        if not self._database.columns.has(name):
            return []
        return [dict(row) for row in self._asked(f"SELECT * FROM {name}", {}).mappings()]

    def _asked(self, sql: str, values: Mapping[str, Any]) -> Any:
        import sqlalchemy as sa

        return self._connection.execute(
            sa.text(sql), dict(values), execution_options={"stream_results": True, "max_row_buffer": FETCHED}
        )


def _said(error: Exception) -> str:
    """What the driver says, in one line."""
    return " ".join(str(getattr(error, "orig", None) or error).split())
