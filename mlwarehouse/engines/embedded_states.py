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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from mlwarehouse.disk import try_lock
from mlwarehouse.engines.embedded_cache import folds_folder
from mlwarehouse.engines.embedded_commit import reason, sync_log
from mlwarehouse.engines.embedded_covers import COVERS, covered, mark
from mlwarehouse.engines.embedded_fold_parts import FoldParts, PartJob, WrittenPart, connected, fold_here, write_part
from mlwarehouse.engines.embedded_log import entry_name
from mlwarehouse.engines.embedded_page_files import PART_RUNS, part_of, write_pages
from mlwarehouse.engines.embedded_sql import file_list, rows_of_files
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.errors import StorageError
from mlwarehouse.storage import Storage
from mlwarehouse.tables import TABLES_BY_NAME
from mlwarehouse.tables.states import STATES, StateSpec

REFRESH_ROWS = 50_000
"""Events behind a kept fold that are worth taking up; fewer are read as they are in a few milliseconds."""

REFRESH_COMMITS = 200
"""Commits behind a kept fold that are worth taking up, however few events they hold: a reader reads their entries."""

NUMBERS = "run_numbers"
MOST_NUMBER_FILES = 8
NUMBERS_ROW_GROUP = 8192
"""Rows read to find one run's number."""

REFRESH_AGE_S = 24 * 3600.0
"""A kept fold is taken up when it is this old, however little came in: log entries behind it expire after a week."""

RETENTION_HOURS = 24
"""Files of older folds stay for readers that have begun; a fold has no past that anybody asks for."""


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


def refresh(tables: EmbeddedTables, *, least_rows: int = REFRESH_ROWS, fold: FoldParts = fold_here) -> list[Refreshed]:
    """Take up into the kept folds what has been committed since.

    Only one process may do this at a time: of a warehouse in a local folder the caller is the only maintainer; of one
    in an object store each machine has its own folds, and nothing is done while another process is at it.

    Args:
        tables: The warehouse's tables.
        least_rows: Views with fewer new events are left as they are.
        fold: Makes the folds of parts.

    Returns:
        What was done, by view; views left as they were are left out.

    Raises:
        StorageError: It failed; the kept folds are as they were.
    """
    with _only_refresher(tables) as may:
        return _refreshed(tables, least_rows, fold) if may else []


def _refreshed(tables: EmbeddedTables, least_rows: int, fold: FoldParts) -> list[Refreshed]:
    done = []
    tails = [_tail(tables, spec) for spec in STATES]
    # Folds without the numbers that they were made with mean nothing. All are dropped before one is made.
    if None in tails or not DeltaTable.is_deltatable(str(derived_folder(tables) / NUMBERS)):
        drop_states(tables)
        tails = [_tail(tables, spec) for spec in STATES]
    for spec, tail in zip(STATES, tails, strict=True):
        if tail is None:
            raise StorageError(f"The kept fold of `{spec.view}` was changed by somebody else meanwhile.")
        try:
            outcome = _refresh(tables, spec, tail, least_rows, fold)
        except (duckdb.Error, DeltaError, OSError) as error:
            raise StorageError(f"The kept fold of `{spec.view}` couldn't be refreshed: {reason(error)}") from error
        if outcome is not None:
            done.append(outcome)
    if done:
        try:
            with connected() as db:
                write_pages(db, derived_folder(tables), kept_files(tables))
        except (duckdb.Error, DeltaError, OSError) as error:
            raise StorageError(f"The pages of runs couldn't be written: {reason(error)}") from error
    return done


def kept_files(tables: EmbeddedTables) -> dict[str, list[str]]:
    """The files of each kept fold, by view; folds that aren't kept yet are left out.

    Raises:
        DeltaError: One can't be read.
    """
    result = {}
    for spec in STATES:
        folder = derived_folder(tables) / spec.view
        if DeltaTable.is_deltatable(str(folder)):
            result[spec.view] = [str(folder / path) for path, _ in _files(DeltaTable(folder))]
    return result


@dataclass(frozen=True)
class _Tail:
    """What a kept fold hasn't taken up.

    Attributes:
        kept: The fold's table; None where it isn't kept yet.
        start: The version of the event table that it goes up to; None where it isn't kept yet.
        version: The event table's newest version.
        files: Files with events behind ``start``.
    """

    kept: DeltaTable | None
    start: int | None
    version: int
    files: list[str]


def _tail(tables: EmbeddedTables, spec: StateSpec) -> _Tail | None:
    """What is behind a view's kept fold; None where the fold can't go on."""
    source = TABLES_BY_NAME[spec.source]
    version = tables.handle(source).version()
    folder = derived_folder(tables) / spec.view
    try:
        if not DeltaTable.is_deltatable(str(folder)):
            files = tables.added_files(source, None, version)
            # The log doesn't go back to the start any more: everything is in what is there now.
            return _Tail(None, None, version, tables.at(source, version)[1] if files is None else files)
        kept = DeltaTable(folder)
        start = covered(tables, source, kept.transaction_version(COVERS))
        # Else the event table was restored from a backup, or its log cleaned up; or what came in since can't be told.
        files = None if start is None else tables.added_files(source, start, version)
    except (DeltaError, OSError) as error:
        raise StorageError(f"The kept fold of `{spec.view}` couldn't be refreshed: {reason(error)}") from error
    return None if files is None else _Tail(kept, start, version, files)


def _is_late(place: Storage, start: int, version: int) -> bool:
    """Whether a fold that goes up to one version is to be taken up to another, however few events are between them."""
    if version - start >= REFRESH_COMMITS:
        return True
    if version <= start:
        return False
    entry = place.child("_delta_log").info(entry_name(start))
    return entry is None or time.time() - entry.modified_at > REFRESH_AGE_S


def _refresh(
    tables: EmbeddedTables, spec: StateSpec, since: _Tail, least_rows: int, fold: FoldParts
) -> Refreshed | None:
    source = TABLES_BY_NAME[spec.source]
    folder = derived_folder(tables) / spec.view
    kept, start, version, files = since.kept, since.start, since.version, since.files
    if not files:
        return None
    with connected() as db:
        db.execute(f"CREATE VIEW raw AS {rows_of_files(source, files)}")
        (n_events,) = db.execute("SELECT count(*) FROM raw").fetchone() or (0,)
        is_late = start is not None and _is_late(tables.place(source), start, version)
        if not n_events or (kept is not None and n_events < least_rows and not is_late):
            return None
        numbers = _number(tables, db)
        db.execute(f"CREATE VIEW run_numbers AS SELECT id, number FROM read_parquet({file_list(numbers)})")
        parts = _files_by_part(db, files)
    old = _parts(kept) if kept is not None else {}
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        PartJob(
            spec.view,
            str(folder),
            part,
            tuple(sources),
            tuple(numbers),
            str(folder / old[part][0]) if part in old else None,
        )
        for part, sources in parts.items()
    ]
    now_ms = time.time_ns() // 1_000_000
    written = fold(jobs)
    actions: list[AddAction | RemoveAction] = [_added(part, now_ms) for part in written]
    actions += [RemoveAction(old[part][0], True, now_ms, old[part][1], {}) for part in parts if part in old]
    if kept is None:
        kept = _create(folder, written[0])
    _commit(kept, folder, actions, Transaction(COVERS, mark(tables, source, version)))
    kept.vacuum(retention_hours=RETENTION_HOURS, enforce_retention_duration=False, dry_run=False)
    return Refreshed(spec.view, n_events, len(parts))


def _files_by_part(db: duckdb.DuckDBPyConnection, files: Sequence[str]) -> dict[int, list[str]]:
    """Which of some files of events have any of a part's runs, by part.

    Runs of one part have begun about the same time, and so have the events of a file: a part's events are in few files,
    and looking through them all once spares looking through them all for each part.
    """
    rows = db.execute(
        f"SELECT DISTINCT number // {PART_RUNS} AS part, filename FROM run_numbers INNER JOIN (SELECT DISTINCT run_id, "
        f"filename FROM read_parquet({file_list(files)}, filename = true)) ON id = run_id ORDER BY part, filename"
    ).fetchall()
    result: dict[int, list[str]] = {}
    for part, file in rows:
        result.setdefault(part, []).append(file)
    return result


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
    written = write_part(db, f"SELECT * FROM ({text}) ORDER BY id", folder, 0, NUMBERS_ROW_GROUP)
    actions: list[AddAction | RemoveAction] = [_added(written, now_ms)]
    if kept is None:
        kept = _create(folder, written)
    elif merges:
        actions += [RemoveAction(path, True, now_ms, size, {}) for path, size in _files(kept)]
    _commit(kept, folder, actions, Transaction(NUMBERS, highest + n_fresh))
    return sorted(str(folder / p) for p, _ in _files(kept))


def _added(part: WrittenPart, now_ms: int) -> AddAction:
    return AddAction(part.path, part.size, {}, now_ms, True, json.dumps({"numRecords": part.n_rows}))


def _create(folder: Path, written: WrittenPart) -> DeltaTable:
    """Make the table of a first file."""
    with connected() as db:
        rows = db.execute(f"SELECT * FROM read_parquet({file_list([str(folder / written.path)])}) LIMIT 0")
        schema = rows.to_arrow_table().schema
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
    return {part_of(path): (path, size) for path, size in _files(table)}
