"""Reading kept folds: which version of each goes with a reading, and the tables that the changed views read.

One reading keeps one choice of folds and one connection, so that the numbers that runs are known by mean the same in
all questions about it, and what came in since is looked at once.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from mlwarehouse.engines.embedded_log import entry_path
from mlwarehouse.engines.embedded_sql import columns_of, file_list, rows_of_files
from mlwarehouse.engines.embedded_states import COVERS, NUMBERS, covered, derived_folder
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.engines.embedded_tail import added_files
from mlwarehouse.engines.render_states import nothing_kept
from mlwarehouse.errors import StorageError
from mlwarehouse.tables import TABLES_BY_NAME
from mlwarehouse.tables.states import STATES, StateSpec

PREFIX = "mlw_table_"
"""Before the names of the tables that questions read."""


@dataclass
class Kept:
    """The kept folds of one reading.

    Attributes:
        folds: Files of each kept fold, by view.
        tails: Files of events behind them, by event table.
        numbers: Files of the runs' numbers.
        overlay: Rows that aren't committed, by event table.
        cursor: The connection that has its tables; made by `prepare`.
        lock: Held while a question uses the connection.
    """

    folds: Mapping[str, list[str]]
    tails: Mapping[str, list[str]]
    numbers: list[str]
    overlay: Mapping[str, pa.Table]
    cursor: duckdb.DuckDBPyConnection | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
        """The connection that has the tables of `mlwarehouse.engines.render_states`; made at the first call.

        Args:
            connection: A connection to the database that answers.
        """
        if self.cursor is None:
            self.cursor = cursor = connection.cursor()
            for spec in STATES:
                self._raw_tail(cursor, spec)
            self._numbers(cursor)
            for spec in STATES:
                self._fold(cursor, spec)
        return self.cursor

    def _raw_tail(self, cursor: duckdb.DuckDBPyConnection, spec: StateSpec) -> None:
        source = TABLES_BY_NAME[spec.source]
        rows = rows_of_files(source, self.tails[spec.source])
        cursor.execute(f"CREATE TEMP TABLE mlw_raw_{spec.source} AS {rows}")
        overlay = self.overlay.get(spec.source)
        if overlay is not None:
            cursor.register("mlw_rows", overlay)
            cursor.execute(f"INSERT INTO mlw_raw_{spec.source} SELECT {columns_of(source)} FROM mlw_rows")
            cursor.unregister("mlw_rows")

    def _numbers(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Number the runs of the tails: as they are known, and new ones behind all that are."""
        known = f"(SELECT id, number FROM read_parquet({file_list(self.numbers)}))"
        seen = " UNION ALL ".join(f"SELECT run_id, event_at FROM mlw_raw_{spec.source}" for spec in STATES)
        cursor.execute(
            f"CREATE TEMP TABLE mlw_seen AS SELECT run_id AS id, min(event_at) AS began_at FROM ({seen}) GROUP BY 1"
        )
        cursor.execute(
            f"CREATE TEMP TABLE {PREFIX}tail_numbers AS SELECT id, number FROM {known} SEMI JOIN mlw_seen USING (id)"
        )
        cursor.execute(
            f"CREATE TEMP TABLE mlw_new_numbers AS SELECT id, (SELECT max(number) FROM {known}) "
            "+ row_number() OVER (ORDER BY began_at, id) AS number "
            f"FROM mlw_seen ANTI JOIN {PREFIX}tail_numbers USING (id)"
        )
        cursor.execute(f"INSERT INTO {PREFIX}tail_numbers SELECT * FROM mlw_new_numbers")
        cursor.execute(
            f"CREATE TEMP VIEW {PREFIX}run_numbers AS SELECT * FROM {known} UNION ALL SELECT * FROM mlw_new_numbers"
        )

    def _fold(self, cursor: duckdb.DuckDBPyConnection, spec: StateSpec) -> None:
        source = spec.source
        cursor.execute(
            f"CREATE TEMP TABLE {PREFIX}tail_{source} AS SELECT raw.* REPLACE (number AS run_id) "
            f"FROM mlw_raw_{source} AS raw INNER JOIN {PREFIX}tail_numbers ON id = run_id"
        )
        cursor.execute(f"DROP TABLE mlw_raw_{source}")
        cursor.execute(
            f"CREATE TEMP TABLE {PREFIX}touched_{source} AS SELECT DISTINCT run_id FROM {PREFIX}tail_{source}"
        )
        files = self.folds[spec.view]
        rows = f"SELECT * FROM read_parquet({file_list(files)})" if files else self._nothing(cursor, spec)
        cursor.execute(f"CREATE TEMP VIEW {PREFIX}state_{spec.view} AS {rows}")

    def _nothing(self, cursor: duckdb.DuckDBPyConnection, spec: StateSpec) -> str:
        text = nothing_kept(spec).replace(f"tail_{spec.source}", f"{PREFIX}tail_{spec.source}")
        cursor.execute(f"CREATE TEMP TABLE mlw_nothing_{spec.view} AS {text}")
        return f"SELECT * FROM mlw_nothing_{spec.view}"

    def __del__(self) -> None:
        """The connection's tables go with the reading."""
        if self.cursor is not None:
            self.cursor.close()


class KeptHandles:
    """Handles of the kept folds' tables, brought up to date when asked. Threads may share it."""

    def __init__(self, root: Path) -> None:
        """Open nothing yet."""
        self._root = root
        self._handles: dict[str, tuple[tuple[int, int], DeltaTable]] = {}
        self._lock = threading.Lock()

    def state(self, name: str, app_id: str) -> tuple[list[str], int | None] | None:
        """The files of a table, and the last number that an application recorded in it; None where it isn't there.

        Raises:
            DeltaError: It can't be read.
        """
        folder = self._root / name
        with self._lock:
            try:
                # Folds are dropped and made anew under the same name, and a handle doesn't notice.
                first = entry_path(folder, 0).stat()
                # The time as well: a new file often gets the inode of one that was just removed.
                made = first.st_ino, first.st_ctime_ns
            except FileNotFoundError:
                self._handles.pop(name, None)
                return None
            known = self._handles.get(name)
            if known is None or known[0] != made:
                known = self._handles[name] = made, DeltaTable(folder)
            else:
                known[1].update_incremental()
            paths = pa.table(known[1].get_add_actions(flatten=True)).column("path").to_pylist()
            return [str(folder / path) for path in paths], known[1].transaction_version(app_id)


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
            tail = added_files(tables, source, start, version)
            if tail is None:
                return None
            tails[spec.source] = tail
        # Last, since it only grows: whoever is in a fold has a number.
        numbers = handles.state(NUMBERS, NUMBERS)
    except (DeltaError, OSError):
        return None
    # A table of numbers that is being made has no file yet.
    return None if numbers is None or not numbers[0] else Kept(folds, tails, numbers[0], overlay)


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
