"""Mending what `embedded_checks` finds. What is replaced goes aside into the table's ``_damaged`` folder, never away.

A log entry that is empty, torn or missing becomes a whole one that adds nothing. Its rows are then looked for: in data
files that were written for it and that no entry names (their rows aren't in the table), and, by the caller, in the
spool. A data file that is gone or changed gives way to the files that it was merged from, where those are there.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlwarehouse._version import __version__
from mlwarehouse.disk import prepared, sync_path
from mlwarehouse.engines.embedded_checks import changed
from mlwarehouse.engines.embedded_commit import StagedFile, stage
from mlwarehouse.engines.embedded_follow import write_checkpoint
from mlwarehouse.engines.embedded_log import (
    LAST_CHECKPOINT,
    DataFile,
    LogState,
    checkpoints,
    data_file,
    entry_path,
    log_entries,
    read_checkpoint,
    read_entry,
    replay,
)
from mlwarehouse.engines.embedded_orphans import orphans
from mlwarehouse.engines.embedded_replace import read_file, replace_files
from mlwarehouse.engines.embedded_stats import column_stats
from mlwarehouse.storage import storage_of
from mlwarehouse.tables import TableSpec

PURPOSE = "repair"

ASIDE = "_damaged"
"""The folder within a table's where replaced files go; every reader of Delta tables leaves it alone."""

KEYS = ("writer_id", "writer_seq")
"""What tells whose and which record a row is of."""


def put_aside(folder: Path, path: Path) -> Path:
    """Move a damaged file into the table's ``_damaged`` folder.

    Returns:
        Where it is now.
    """
    aside = folder / ASIDE
    aside.mkdir(exist_ok=True)
    target = aside / f"{path.name}.{uuid.uuid4().hex[:8]}"
    path.replace(target)
    sync_path(aside)
    sync_path(path.parent)
    return target


def mend_entry(folder: Path, version: int) -> None:
    """Put a whole log entry without files in the place of one that is empty, torn or missing.

    Nothing is taken from a torn one: what it lacks may be the removals, or the transaction number, that go with it. One
    that is whole by now stays.

    Args:
        folder: The table's folder.
        version: The entry's version.
    """
    path = entry_path(folder, version)
    info = {
        "timestamp": time.time_ns() // 1_000_000,
        "operation": "REPAIR",
        "mlwarehouse": __version__,
        "purpose": PURPOSE,
    }
    try:
        read_entry(path)
        return
    except FileNotFoundError:
        pass
    except ValueError:
        put_aside(folder, path)
    content = json.dumps({"commitInfo": info}).encode() + b"\n"
    # Whoever had the same idea at this moment wins: an entry is written once.
    with prepared(path, content) as temporary, suppress(FileExistsError):
        os.link(temporary, path)
    sync_path(path.parent)


def mend_checkpoints(folder: Path) -> str | None:
    """Put checkpoints that can't be read aside, and write a new one.

    Returns:
        None; or why it can't be done: the entries that the checkpoint stood for are gone.
    """
    bad = []
    for path in checkpoints(folder).values():
        try:
            read_checkpoint(path)
        except ValueError:
            bad.append(path)
    try:
        replay(folder, ignoring=frozenset(p.name for p in bad))
    except ValueError as error:
        return f"{error}, and no other checkpoint holds what it said"
    for path in bad:
        put_aside(folder, path)
    last = folder / "_delta_log" / LAST_CHECKPOINT
    if last.exists():
        put_aside(folder, last)
    write_checkpoint(folder)
    return None


def find_batch(folder: Path, *, n_rows: int, recorded_at: int) -> StagedFile | None:
    """The data file of a batch that was written and isn't part of the table.

    Args:
        folder: The table's folder.
        n_rows: How many rows the batch has in this table.
        recorded_at: When it was recorded, microseconds since the epoch.
    """
    for path in _orphans(folder, replay(folder)):
        try:
            rows = pq.ParquetFile(path, page_checksum_verification=True).read()
        except (pa.ArrowException, OSError):
            continue
        moments = pc.unique(rows.column("recorded_at")).cast(pa.int64()).to_pylist()
        if rows.num_rows == n_rows and moments == [recorded_at]:
            return _as_staged(path, rows)
    return None


def lost_batches(folder: Path, spec: TableSpec, *, since: float, until: float) -> list[StagedFile]:
    """Data files whose rows aren't in the table, written while a log entry that was lost must have been.

    Args:
        folder: The table's folder.
        spec: The table.
        since: The earliest time of writing, seconds since the epoch.
        until: The latest.
    """
    state = replay(folder)
    found = []
    for path in _orphans(folder, state):
        if not since <= path.stat().st_mtime <= until:
            continue
        try:
            rows = read_file(folder, path.name, spec)
        except (pa.ArrowException, OSError):
            continue
        if rows.num_rows and not _known(folder, state, rows).num_rows:
            found.append(_as_staged(path, rows))
    return found


def entry_window(folder: Path, version: int) -> tuple[float, float]:
    """Between which times, in seconds since the epoch, the data files of an entry must have been written."""
    times = {v: p.stat().st_mtime for v, p in log_entries(folder).items()}
    before = max((v for v in times if v < version), default=None)
    after = min((v for v in times if v > version), default=None)
    # A file is written before its entry, and may wait long for its turn to be committed.
    since = 0.0 if before is None else times[before] - 600
    return since, time.time() if after is None else times[after] + 1


def absent(folder: Path, rows: pa.Table, *, without: Collection[str] = ()) -> pa.Table:
    """Those of some rows whose records a table doesn't have.

    Args:
        folder: The table's folder.
        rows: The rows, with the envelope's columns.
        without: Paths of data files that don't count.
    """
    state = replay(folder)
    for path in without:
        state.files.pop(path, None)
    known = _known(folder, state, rows)
    return _plain(rows).join(known, keys=list(KEYS), join_type="left anti").select(rows.column_names)


def sources_of(folder: Path, spec: TableSpec, file: DataFile) -> list[StagedFile] | None:
    """The files that a data file was merged from, if all of them are still there and whole.

    Returns:
        The files; None where they aren't known, or one is gone.
    """
    added: dict[str, DataFile] = {}
    merged: list[str] = []
    for path in log_entries(folder).values():
        try:
            actions = read_entry(path)
        except ValueError:
            continue
        here = [data_file(a["add"]) for a in actions if "add" in a]
        added |= {f.path: f for f in here}
        if file.path in {f.path for f in here} and len(here) == 1:
            merged = [a["remove"]["path"] for a in actions if "remove" in a]
    sources = [added[path] for path in merged if path in added]
    if not merged or len(sources) < len(merged) or sum(f.n_rows for f in sources) != file.n_rows:
        return None
    if any(not (folder / f.path).exists() or changed(folder / f.path, f, spec) for f in sources):
        return None
    return [StagedFile(f.path, f.size, f.n_rows, json.dumps(f.stats)) for f in sources]


def swap_file(folder: Path, spec: TableSpec, file: DataFile, instead: Sequence[StagedFile]) -> bool:
    """Put other files in the place of a damaged one, which goes aside.

    Returns:
        Whether that was done; False when the file isn't part of the table any more.
    """
    done = replace_files(folder, spec, remove=[(file.path, file.size)], add=instead, purpose=PURPOSE)
    if done and (folder / file.path).exists():
        put_aside(folder, folder / file.path)
    return done


def remove_doubles(folder: Path, spec: TableSpec) -> int:
    """Rewrite the files of a table in which rows stand that another file, or the same, has already.

    Returns:
        How many rows went.
    """
    state = replay(folder)
    seen: set[tuple[Any, ...]] = set()
    suspects = _double_keys(folder, state, spec)
    n_removed = 0
    for file in sorted(state.files.values(), key=lambda f: (f.added_at, f.path)):
        rows = read_file(folder, file.path, spec)
        keep = []
        for row, key in zip(range(rows.num_rows), _pairs(rows), strict=True):
            whole = tuple(rows.slice(row, 1).to_pylist()[0].values()) if key in suspects else None
            keep.append(whole is None or whole not in seen)
            if whole is not None:
                seen.add(whole)
        if all(keep):
            continue
        kept = rows.filter(pa.array(keep))
        new = [stage(folder, kept, row_group_rows=spec.row_group_rows)] if kept.num_rows else []
        # The record is still there once: the table says what it said, so its rows don't count as changed.
        if replace_files(folder, spec, remove=[(file.path, file.size)], add=new, purpose=PURPOSE):
            n_removed += rows.num_rows - kept.num_rows
    return n_removed


def _orphans(folder: Path, state: LogState) -> list[Path]:
    """The data files in a table's folder that no log entry names."""
    return [folder / name for name in orphans(folder, state, storage_of(folder).files())]


def _double_keys(folder: Path, state: LogState, spec: TableSpec) -> set[tuple[str, int]]:
    keys = pa.concat_tables([read_file(folder, f.path, spec).select(list(KEYS)) for f in state.files.values()])
    counts = keys.group_by(list(KEYS)).aggregate([([], "count_all")])
    return set(_pairs(counts.filter(pc.greater(counts.column("count_all"), 1))))


def _pairs(rows: pa.Table) -> Iterable[tuple[str, int]]:
    return zip(rows.column("writer_id").to_pylist(), rows.column("writer_seq").to_pylist(), strict=True)


def _known(folder: Path, state: LogState, rows: pa.Table) -> pa.Table:
    """The records of a table that are of the writers of some rows: `KEYS`, each once."""
    writers = pc.unique(_plain(rows).column("writer_id"))
    parts = [pa.table({k: _plain(rows).column(k).slice(0, 0) for k in KEYS})]
    for file in state.files.values():
        try:
            keys = pq.ParquetFile(folder / file.path).read(columns=list(KEYS))
        except (pa.ArrowException, OSError):
            continue
        parts.append(_plain(keys.filter(pc.is_in(keys.column("writer_id"), writers))))
    known = pa.concat_tables(parts, promote_options="permissive").group_by(list(KEYS)).aggregate([])
    return known.join(_plain(rows).select(list(KEYS)), keys=list(KEYS), join_type="left semi")


def _plain(rows: pa.Table) -> pa.Table:
    """Rows whose text isn't dictionary-encoded: joins want one type on both sides."""
    for index, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            rows = rows.set_column(index, field.name, rows.column(index).cast(field.type.value_type))
    return rows


def _as_staged(path: Path, rows: pa.Table) -> StagedFile:
    return StagedFile(path.name, path.stat().st_size, rows.num_rows, json.dumps(column_stats(rows)))
