"""Reading kept folds: which version of each goes with a reading, and the tables that the changed views read.

One reading keeps one choice of folds, so that the numbers that runs are known by mean the same in all questions about
it, and what came in since is looked at once.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from mlwarehouse.engines.embedded_covers import COVERS, covered
from mlwarehouse.engines.embedded_follow import NewestTable
from mlwarehouse.engines.embedded_pages import Pages, touched_runs
from mlwarehouse.engines.embedded_sql import columns_of, file_list, no_rows, rows_of_files
from mlwarehouse.engines.embedded_states import NUMBERS, derived_folder
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.engines.render_states import nothing_kept
from mlwarehouse.errors import StorageError
from mlwarehouse.tables import TABLES_BY_NAME
from mlwarehouse.tables.states import STATES, StateSpec

PREFIX = "mlw_table_"
"""Before the names of the tables that questions read."""


@dataclass
class Kept:
    """The kept folds of one reading. Threads may share it.

    Attributes:
        folds: Files of each kept fold, by view.
        tails: Files of events behind them, by event table.
        numbers: Files of the runs' numbers.
        overlay: Rows that aren't committed, by event table.
        pages: Page files of the folds.
    """

    folds: Mapping[str, list[str]]
    tails: Mapping[str, list[str]]
    numbers: list[str]
    overlay: Mapping[str, pa.Table]
    pages: Pages
    _schema: str = ""
    _connection: duckdb.DuckDBPyConnection | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def is_same(self, other: Kept) -> bool:
        """Whether another one reads the same files and nothing else, so that either will do."""
        files = self.folds, self.tails, self.numbers
        return not self.overlay and not other.overlay and files == (other.folds, other.tails, other.numbers)

    @cached_property
    def unsettled(self) -> frozenset[str]:
        """The views whose folds have events behind them."""
        return frozenset(s.view for s in STATES if self.tails[s.source] or s.source in self.overlay)

    @cached_property
    def touched(self) -> frozenset[str]:
        """The ids of the runs that have events behind any fold.

        Raises:
            OSError: A file of events can't be read.
        """
        return frozenset().union(*(touched_runs(self.tails[s.source], self.overlay.get(s.source)) for s in STATES))

    def prepare(self, cursor: duckdb.DuckDBPyConnection, database: duckdb.DuckDBPyConnection) -> None:
        """Let a connection see the tables of `mlwarehouse.engines.render_states`, which the first call makes.

        Args:
            cursor: A connection to the database that answers.
            database: The one that lasts: what a cursor makes is closed with it.
        """
        with self._lock:
            if not self._schema:
                schema = f"kept_{uuid.uuid4().hex}"
                cursor.execute(f"CREATE SCHEMA {schema}")
                try:
                    cursor.execute(f"SET schema = '{schema}'")
                    self._make(cursor)
                except BaseException:
                    # Half of the tables are worse than none: the next question starts over.
                    cursor.execute("SET schema = 'main'")
                    cursor.execute(f"DROP SCHEMA {schema} CASCADE")
                    raise
                self._connection, self._schema = database.cursor(), schema
        cursor.execute(f"SET schema = '{self._schema}'")

    def _make(self, cursor: duckdb.DuckDBPyConnection) -> None:
        unsettled = [spec for spec in STATES if spec.view in self.unsettled]
        for spec in unsettled:
            self._raw_tail(cursor, spec)
        self._numbers(cursor, unsettled)
        for spec in STATES:
            self._fold(cursor, spec)

    def _raw_tail(self, cursor: duckdb.DuckDBPyConnection, spec: StateSpec) -> None:
        source = TABLES_BY_NAME[spec.source]
        rows = rows_of_files(source, self.tails[spec.source])
        cursor.execute(f"CREATE TABLE mlw_raw_{spec.source} AS {rows}")
        overlay = self.overlay.get(spec.source)
        if overlay is not None:
            cursor.register("mlw_rows", overlay)
            cursor.execute(f"INSERT INTO mlw_raw_{spec.source} SELECT {columns_of(source)} FROM mlw_rows")
            cursor.unregister("mlw_rows")

    def _numbers(self, cursor: duckdb.DuckDBPyConnection, unsettled: Sequence[StateSpec]) -> None:
        """Number the runs of the tails: as they are known, and new ones behind all that are."""
        known = f"(SELECT id, number FROM read_parquet({file_list(self.numbers)}))"
        if not unsettled:
            cursor.execute("CREATE TABLE mlw_new_numbers (id VARCHAR, number BIGINT)")
            cursor.execute(f"CREATE VIEW {PREFIX}run_numbers AS SELECT * FROM {known}")
            return
        seen = " UNION ALL ".join(f"SELECT run_id, event_at FROM mlw_raw_{spec.source}" for spec in unsettled)
        cursor.execute(
            f"CREATE TABLE mlw_seen AS SELECT run_id AS id, min(event_at) AS began_at FROM ({seen}) GROUP BY 1"
        )
        cursor.execute(
            f"CREATE TABLE {PREFIX}tail_numbers AS SELECT id, number FROM {known} SEMI JOIN mlw_seen USING (id)"
        )
        cursor.execute(
            f"CREATE TABLE mlw_new_numbers AS SELECT id, (SELECT max(number) FROM {known}) "
            "+ row_number() OVER (ORDER BY began_at, id) AS number "
            f"FROM mlw_seen ANTI JOIN {PREFIX}tail_numbers USING (id)"
        )
        cursor.execute(f"INSERT INTO {PREFIX}tail_numbers SELECT * FROM mlw_new_numbers")
        cursor.execute(
            f"CREATE VIEW {PREFIX}run_numbers AS SELECT * FROM {known} UNION ALL SELECT * FROM mlw_new_numbers"
        )

    def _fold(self, cursor: duckdb.DuckDBPyConnection, spec: StateSpec) -> None:
        source, files = spec.source, self.folds[spec.view]
        if spec.view in self.unsettled:
            cursor.execute(
                f"CREATE TABLE {PREFIX}tail_{source} AS SELECT raw.* REPLACE (number AS run_id) "
                f"FROM mlw_raw_{source} AS raw INNER JOIN {PREFIX}tail_numbers ON id = run_id"
            )
            cursor.execute(f"DROP TABLE mlw_raw_{source}")
            cursor.execute(
                f"CREATE TABLE {PREFIX}touched_{source} AS SELECT DISTINCT run_id FROM {PREFIX}tail_{source}"
            )
        elif not files:
            # What has neither a fold nor events still has columns.
            cursor.execute(
                f"CREATE VIEW {PREFIX}tail_{source} AS SELECT * REPLACE (CAST(0 AS BIGINT) AS run_id) "
                f"FROM ({no_rows(TABLES_BY_NAME[source])})"
            )
        rows = f"SELECT * FROM read_parquet({file_list(files)})" if files else self._nothing(cursor, spec)
        cursor.execute(f"CREATE VIEW {PREFIX}state_{spec.view} AS {rows}")

    def _nothing(self, cursor: duckdb.DuckDBPyConnection, spec: StateSpec) -> str:
        text = nothing_kept(spec).replace(f"tail_{spec.source}", f"{PREFIX}tail_{spec.source}")
        cursor.execute(f"CREATE TABLE mlw_nothing_{spec.view} AS {text}")
        return f"SELECT * FROM mlw_nothing_{spec.view}"

    def __del__(self) -> None:
        """Its tables go with it."""
        if self._connection is not None:
            # The database may have been closed before.
            with contextlib.suppress(duckdb.Error):
                self._connection.execute(f"DROP SCHEMA IF EXISTS {self._schema} CASCADE")
                self._connection.close()


class KeptHandles:
    """Handles of the kept folds' tables, brought up to date when asked. Threads may share it."""

    def __init__(self, root: Path) -> None:
        """Open nothing yet.

        Args:
            root: The folder of everything derived.
        """
        self.root = root
        self._handles: dict[str, NewestTable] = {}
        self._files: dict[str, tuple[DeltaTable, int, list[str]]] = {}
        self._lock = threading.Lock()

    def state(self, name: str, app_id: str) -> tuple[list[str], int | None] | None:
        """The files of a table, and the last number that an application recorded in it; None where it isn't there.

        Raises:
            DeltaError: It can't be read.
        """
        folder = self.root / name
        with self._lock:
            # Folds are dropped and made anew under the same name.
            handle = self._handles.setdefault(name, NewestTable(folder))
            try:
                table = handle.get()
            except TableNotFoundError:
                return None
            known = self._files.get(name)
            if known is None or known[0] is not table or known[1] != table.version():
                paths = pa.table(table.get_add_actions(flatten=True)).column("path").to_pylist()
                # The newest runs first, which is what most questions want; what they can't want is then skipped.
                files = [str(folder / path) for path in sorted(paths, reverse=True)]
                known = self._files[name] = table, table.version(), files
            return known[2], table.transaction_version(app_id)


def find_kept(
    handles: KeptHandles, tables: EmbeddedTables, versions: Mapping[str, int], overlay: Mapping[str, pa.Table]
) -> Kept | None:
    """The kept folds that go with a reading.

    Args:
        handles: The kept folds' tables.
        tables: The warehouse's tables.
        versions: The version of each event table that is read.
        overlay: Rows that aren't committed, by table.

    Returns:
        None where a fold isn't kept yet, is newer than the reading, or what came in since can't be told.
    """
    folds: dict[str, list[str]] = {}
    tails: dict[str, list[str]] = {}
    try:
        # Before a fold is chosen: it may hold what was purged.
        tables.heed_purges(once=True)
        for spec in STATES:
            source = TABLES_BY_NAME[spec.source]
            kept = handles.state(spec.view, COVERS)
            folds[spec.view], recorded = kept or ([], None)
            start = covered(tables, source, recorded)
            version = versions[spec.source]
            if kept is not None and (start is None or start > version):
                return None
            tail = tables.added_files(source, start, version)
            if tail is None:
                return None
            tails[spec.source] = tail
        # Last, since it only grows: whoever is in a fold has a number.
        numbers = handles.state(NUMBERS, NUMBERS)
    except (DeltaError, OSError):
        return None
    # A table of numbers that is being made has no file yet.
    if numbers is None or not numbers[0]:
        return None
    rows = {s.source: overlay[s.source] for s in STATES if s.source in overlay and overlay[s.source].num_rows}
    return Kept(folds, tails, numbers[0], rows, Pages(handles.root, folds))


@dataclass(frozen=True)
class FoldHealth:
    """One kept fold.

    Attributes:
        view: The view whose fold it is.
        n_files: Its files.
        n_bytes: Their size.
        n_behind: Commits of the event table that it hasn't taken up; -1 where it has to start over.
    """

    view: str
    n_files: int
    n_bytes: int
    n_behind: int


def fold_health(tables: EmbeddedTables) -> tuple[FoldHealth, ...]:
    """Look at the kept folds; those that aren't kept yet, or can't be read and will be made anew, are left out."""
    found = []
    for spec in STATES:
        source = TABLES_BY_NAME[spec.source]
        folder = derived_folder(tables) / spec.view
        try:
            table = DeltaTable(folder)
            start = covered(tables, source, table.transaction_version(COVERS))
            behind = -1 if start is None else tables.handle(source).version() - start
        except (DeltaError, StorageError, OSError):
            continue
        sizes = pa.table(table.get_add_actions(flatten=True)).column("size_bytes").to_pylist()
        found.append(FoldHealth(spec.view, len(sizes), sum(sizes), behind))
    return tuple(found)
