"""Keeping folds: the outcome of each kept view as a Delta table, taken up again as events come in.

``derived/<view>`` holds one file for each hundred thousand runs or so, sorted by key, and ``derived/run_numbers`` the
numbers that runs are known by in them. A commit says, by its transaction number, up to which version of the event
table it goes; a reader adds the events behind that. Rewriting is bounded by what changed: a run's events come close
together, so a refresh writes the last part anew and leaves the others.

Deleting ``derived`` loses nothing: the next refresh starts over.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from mlwarehouse.disk import sync_path, try_lock
from mlwarehouse.engines.embedded_cache import folds_folder
from mlwarehouse.engines.embedded_commit import reason, sync_log
from mlwarehouse.engines.embedded_log import entry_name
from mlwarehouse.engines.embedded_sql import file_list, rows_of_files
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.engines.embedded_tail import added_files
from mlwarehouse.engines.render_states import fold_of_partition, nothing_kept
from mlwarehouse.errors import StorageError
from mlwarehouse.tables import TABLES_BY_NAME, TableSpec
from mlwarehouse.tables.states import STATES, StateSpec

PART_RUNS = 1 << 17
"""Runs whose rows share a file."""

REFRESH_ROWS = 50_000
"""Events behind a kept fold that are worth taking up; fewer are read as they are in a few milliseconds."""

REFRESH_COMMITS = 200
"""Commits behind a kept fold that are worth taking up, however few events they hold: a reader reads their entries."""

NUMBERS = "run_numbers"
MOST_NUMBER_FILES = 8
NUMBERS_ROW_GROUP = 8192
"""Rows read to find one run's number."""

ROW_GROUP = 32_768

RETENTION_HOURS = 24
"""Files of older folds stay for readers that have begun; a fold has no past that anybody asks for."""

MEMORY = "1GB"


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did for one view.

    Attributes:
        view: The view.
        n_events: Events taken up.
        n_parts: Files written.
    """

    view: str
    n_events: int
    n_parts: int


def derived_folder(tables: EmbeddedTables) -> Path:
    """Where the kept folds of a warehouse's tables are: beside them; of those in an object store, on this machine."""
    if tables.is_remote:
        return folds_folder(tables.storage)
    return tables.folder.parent / "derived"


@contextmanager
def _only_refresher(tables: EmbeddedTables) -> Iterator[bool]:
    """Whether this process may refresh the folds: in a local folder the caller is the only maintainer anyway."""
    if not tables.is_remote:
        yield True
        return
    folder = derived_folder(tables)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield try_lock(fd)
    finally:
        os.close(fd)


def drop_states(tables: EmbeddedTables) -> None:
    """Forget all kept folds; needed when events are removed, and harmless always."""
    folder = derived_folder(tables)
    gone = folder.with_name(f"{folder.name}.gone-{uuid.uuid4().hex}")
    try:
        # In one step: what is left of a removal that was broken off must not look like a kept fold.
        folder.rename(gone)
    except FileNotFoundError:
        return
    shutil.rmtree(gone, ignore_errors=True)


COVERS = "covers"
"""The application id under which a kept fold records, as `mark`, up to where it goes."""


def mark(tables: EmbeddedTables, source: TableSpec, version: int) -> int:
    """A number for one version of an event table, and for no version of one restored from a backup.

    Args:
        tables: The warehouse's tables.
        source: The event table.
        version: The version.

    Returns:
        The version, and in the low 32 bits the check sum of its log entry; 0 in place of that for an entry that has
        been cleaned up.
    """
    try:
        entry = tables.place(source).child("_delta_log").read(entry_name(version))
    except FileNotFoundError:
        entry = b""
    return version << 32 | zlib.crc32(entry)


def covered(tables: EmbeddedTables, source: TableSpec, recorded: int | None) -> int | None:
    """The version of an event table that a kept fold goes up to; None when it is of another table's past.

    Args:
        tables: The warehouse's tables.
        source: The event table.
        recorded: What the fold has under `COVERS`.

    Raises:
        OSError: The storage can't be reached.
    """
    if recorded is None:
        return None
    version = recorded >> 32
    # Of a table in an object store, a process looks once: its handle of the table is of the same past.
    if tables.is_remote and tables.marks.get((source.name, version)) == recorded:
        return version
    found = mark(tables, source, version)
    if found != recorded:
        return None
    tables.marks[source.name, version] = found
    return version


def refresh(tables: EmbeddedTables, *, least_rows: int = REFRESH_ROWS) -> list[Refreshed]:
    """Take up into the kept folds what has been committed since.

    Only one process may do this at a time: of a warehouse in a local folder the caller is the only maintainer; of one
    in an object store each machine has its own folds, and nothing is done while another process is at it.

    Args:
        tables: The warehouse's tables.
        least_rows: Views with fewer new events are left as they are.

    Returns:
        What was done, by view; views left as they were are left out.

    Raises:
        StorageError: It failed; the kept folds are as they were.
    """
    done = []
    with _only_refresher(tables) as may:
        if not may:
            return []
        if not DeltaTable.is_deltatable(str(derived_folder(tables) / NUMBERS)):
            # Folds without the numbers that they were made with mean nothing.
            drop_states(tables)
        for spec in STATES:
            try:
                outcome = _refresh(tables, spec, least_rows)
            except (duckdb.Error, DeltaError, OSError) as error:
                raise StorageError(f"The kept fold of `{spec.view}` couldn't be refreshed: {reason(error)}") from error
            if outcome is not None:
                done.append(outcome)
    return done


def _refresh(tables: EmbeddedTables, spec: StateSpec, least_rows: int) -> Refreshed | None:
    source = TABLES_BY_NAME[spec.source]
    version = tables.handle(source).version()
    folder = derived_folder(tables) / spec.view
    kept = DeltaTable(folder) if DeltaTable.is_deltatable(str(folder)) else None
    start = covered(tables, source, kept.transaction_version(COVERS)) if kept is not None else None
    if kept is not None and start is None:
        # The event table was restored from a backup, or its log cleaned up.
        drop_states(tables)
        kept = None
    files = added_files(tables, source, start, version)
    if files is None:
        # What came in since can't be told any more: start over from all that is there.
        drop_states(tables)
        kept, files = None, tables.at(source, version)[1]
    with duckdb.connect(config={"memory_limit": MEMORY, "autoinstall_known_extensions": "false"}) as db:
        db.execute("SET TimeZone = 'UTC'")
        if not files:
            return None
        db.execute(f"CREATE VIEW raw AS {rows_of_files(source, files)}")
        (n_events,) = db.execute("SELECT count(*) FROM raw").fetchone() or (0,)
        is_late = start is not None and version - start >= REFRESH_COMMITS
        if not n_events or (kept is not None and n_events < least_rows and not is_late):
            return None
        numbers = _number(tables, db)
        db.execute(f"CREATE VIEW run_numbers AS SELECT id, number FROM read_parquet({file_list(numbers)})")
        db.execute("CREATE TABLE numbers AS SELECT * FROM run_numbers SEMI JOIN raw ON id = run_id")
        db.execute(
            "CREATE VIEW tail AS SELECT raw.* REPLACE (number AS run_id) FROM raw INNER JOIN numbers ON id = run_id"
        )
        parts = [p for (p,) in db.execute(f"SELECT DISTINCT number // {PART_RUNS} FROM numbers ORDER BY 1").fetchall()]
        old = _parts(kept) if kept is not None else {}
        folder.mkdir(parents=True, exist_ok=True)
        adds: list[AddAction | RemoveAction] = []
        now_ms = time.time_ns() // 1_000_000
        for part in parts:
            db.execute(
                f"CREATE OR REPLACE VIEW tail_{spec.source} AS SELECT * FROM tail WHERE run_id // {PART_RUNS} = {part}"
            )
            _attach_old(db, spec, folder, old.get(part))
            adds.append(_write(db, fold_of_partition(spec), folder, part, now_ms, ROW_GROUP))
            if part in old:
                adds.append(RemoveAction(old[part][0], True, now_ms, old[part][1], {}))
        if kept is None:
            kept = _create(db, folder)
        _commit(kept, folder, adds, Transaction(COVERS, mark(tables, source, version)))
        kept.vacuum(retention_hours=RETENTION_HOURS, enforce_retention_duration=False, dry_run=False)
    return Refreshed(spec.view, n_events, len(parts))


def _attach_old(db: duckdb.DuckDBPyConnection, spec: StateSpec, folder: Path, file: tuple[str, int] | None) -> None:
    """Give the fold its older part, or none in the right types."""
    name = f"state_{spec.view}"
    if file is not None:
        db.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM read_parquet({file_list([str(folder / file[0])])})")
        return
    db.execute(f"CREATE OR REPLACE VIEW {name} AS {nothing_kept(spec)}")


def _number(tables: EmbeddedTables, db: duckdb.DuckDBPyConnection) -> list[str]:
    """Give numbers to runs in ``raw`` that have none; returns the files of all numbers."""
    folder = derived_folder(tables) / NUMBERS
    folder.mkdir(parents=True, exist_ok=True)
    kept = DeltaTable(folder) if DeltaTable.is_deltatable(str(folder)) else None
    files = [] if kept is None else sorted(str(folder / p) for p, _ in _files(kept))
    if files:
        known = f"SELECT id, number FROM read_parquet({file_list(files)})"
    else:
        known = "SELECT CAST(NULL AS VARCHAR) AS id, CAST(NULL AS BIGINT) AS number WHERE false"
    (highest,) = db.execute(f"SELECT coalesce(max(number), -1) FROM ({known})").fetchone() or (-1,)
    db.execute(
        f"CREATE TABLE fresh AS SELECT run_id AS id, {highest} + row_number() OVER (ORDER BY min(event_at), run_id) "
        f"AS number FROM raw ANTI JOIN ({known}) ON id = run_id GROUP BY run_id"
    )
    (n_fresh,) = db.execute("SELECT count(*) FROM fresh").fetchone() or (0,)
    if not n_fresh:
        return files
    merges = len(files) >= MOST_NUMBER_FILES
    text = f"{known} UNION ALL SELECT * FROM fresh" if merges else "SELECT * FROM fresh"
    now_ms = time.time_ns() // 1_000_000
    actions: list[AddAction | RemoveAction] = [
        _write(db, f"SELECT * FROM ({text}) ORDER BY id", folder, 0, now_ms, NUMBERS_ROW_GROUP)
    ]
    if kept is None:
        kept = _create(db, folder)
    elif merges:
        actions += [RemoveAction(path, True, now_ms, size, {}) for path, size in _files(kept)]
    _commit(kept, folder, actions, Transaction(NUMBERS, highest + n_fresh))
    return sorted(str(folder / p) for p, _ in _files(kept))


def _write(db: duckdb.DuckDBPyConnection, sql: str, folder: Path, part: int, now_ms: int, row_group: int) -> AddAction:
    """Write a query's rows as one synced file of a table."""
    name = f"{part:06d}-{uuid.uuid4()}.parquet"
    path = str(folder / name).replace("'", "''")
    db.execute(f"CREATE OR REPLACE TEMP TABLE written AS {sql}")
    rows = db.execute(
        f"COPY (FROM written) TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {row_group})"
    ).fetchone()
    sync_path(folder / name)
    sync_path(folder)
    stats = json.dumps({"numRecords": rows[0] if rows else 0})
    return AddAction(name, (folder / name).stat().st_size, {}, now_ms, True, stats)


def _create(db: duckdb.DuckDBPyConnection, folder: Path) -> DeltaTable:
    """Make the table for what `_write` wrote last."""
    schema = db.execute("SELECT * FROM written LIMIT 0").to_arrow_table().schema
    table = DeltaTable.create(folder, schema=schema, mode="ignore", configuration={"delta.checkpointInterval": "20"})
    sync_log(folder, -1, 0)
    return table


def _commit(table: DeltaTable, folder: Path, actions: list[AddAction | RemoveAction], txn: Transaction) -> None:
    before = table.version()
    try:
        table.create_write_transaction(
            actions,
            mode="append",
            schema=table.schema(),
            commit_properties=CommitProperties(app_transactions=[txn], max_commit_retries=0),
        )
    except CommitFailedError as error:
        raise StorageError(f"Somebody else refreshed the kept fold in `{folder}` meanwhile.") from error
    table.update_incremental()
    sync_log(folder, before, table.version())


def _files(table: DeltaTable) -> list[tuple[str, int]]:
    rows = pa.table(table.get_add_actions(flatten=True)).select(["path", "size_bytes"]).to_pylist()
    return [(row["path"], row["size_bytes"]) for row in rows]


def _parts(table: DeltaTable) -> dict[int, tuple[str, int]]:
    return {int(path.partition("-")[0]): (path, size) for path, size in _files(table)}
