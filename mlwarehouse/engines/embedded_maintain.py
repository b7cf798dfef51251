"""Looking after the tables: compaction by the same staged, synced commit, checkpoints, garbage, and what is there.

Compaction replaces small files by one file with the same rows, sorted as the table declares. It changes no row, so an
append-only table allows it, the change feed shows nothing, and readers of an older version keep their files until
garbage collection takes them, behind the retention.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from deltalake.exceptions import DeltaError

from mlwarehouse.engines.embedded_commit import StagedFile, reason, stage
from mlwarehouse.engines.embedded_follow import open_table, write_checkpoint
from mlwarehouse.engines.embedded_gc import Removed, collect_garbage
from mlwarehouse.engines.embedded_log import replay
from mlwarehouse.engines.embedded_orphans import oldest_pending, orphans
from mlwarehouse.engines.embedded_replace import SmallFile, files_of, read_file, replace_files
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.errors import StorageError
from mlwarehouse.storage import LocalStorage, Storage, each, storage_of
from mlwarehouse.tables import TableSpec

SMALL_BYTES = 32 << 20
"""A file smaller than this is worth merging with others."""

GROUP_BYTES = 128 << 20
"""At most this much is merged into one file, and at most `GROUP_ROWS`: both bound the memory."""

GROUP_ROWS = 2_000_000

FEWEST_FILES = 2
"""Fewer files aren't merged when somebody asks for maintenance."""

FEWEST_OF_A_SIZE = 16
"""Fewer files of about one size aren't merged in the background: so a row is rewritten seldom, however many commits
bring it."""

SIZE_STEP = 8
"""How many times larger a file may be to count as about the same size."""

RETENTION_HOURS = 168
"""Files that no version needs are kept this long, for readers of older versions; Delta's own default."""


@dataclass(frozen=True)
class TableHealth:
    """What is in a table's folder.

    Attributes:
        name: The table.
        version: Its newest version.
        n_files: Files of that version.
        n_bytes: Their size.
        n_rows: Their rows.
        small_share: The share of files that are worth merging.
        n_log_entries: Commits since the last checkpoint.
        n_orphans: Files in the folder that no log entry names: about to be committed, or left by a process that died;
            in an object store only those older than a day.
        n_orphan_bytes: Their size.
    """

    name: str
    version: int
    n_files: int
    n_bytes: int
    n_rows: int
    small_share: float
    n_log_entries: int
    n_orphans: int
    n_orphan_bytes: int


@dataclass(frozen=True)
class Maintained:
    """What was done to a table.

    Attributes:
        name: The table.
        n_merged: Files that were merged.
        n_written: Files that they became.
        n_bytes: The size of the merged files.
        n_vacuumed: Files that no version within the retention needed, and that were removed.
        n_orphans: Files that no log entry named, and that were removed.
    """

    name: str
    n_merged: int
    n_written: int
    n_bytes: int
    n_vacuumed: int
    n_orphans: int


def health(tables: EmbeddedTables, spec: TableSpec) -> TableHealth:
    """Look at one table.

    Raises:
        StorageError: It can't be read.
    """
    table = tables.handle(spec)
    files = list(files_of(table))
    place = tables.place(spec)
    names = place.child("_delta_log").names()
    since = table.version() - max((int(n.split(".")[0]) for n in names if ".checkpoint" in n), default=-1)
    lost = _orphan_sizes(place, spec)
    return TableHealth(
        name=spec.name,
        version=table.version(),
        n_files=len(files),
        n_bytes=sum(f.size for f in files),
        n_rows=sum(f.n_rows for f in files),
        small_share=sum(f.size < SMALL_BYTES for f in files) / len(files) if files else 0.0,
        n_log_entries=since,
        n_orphans=len(lost),
        n_orphan_bytes=sum(lost),
    )


def _orphan_sizes(place: Storage, spec: TableSpec) -> list[int]:
    try:
        # Listed first: a file may be committed, or removed, at this moment.
        there = place.files()
        state = replay(place)
        # Looking for young ones means to read all of the log, and in an object store that takes long.
        is_local = isinstance(place, LocalStorage)
        before = math.inf if is_local else oldest_pending(state, time.time())
        return [there[name].size for name in orphans(place, state, there, before=before)]
    except (ValueError, OSError) as error:
        raise StorageError(f"Table `{spec.name}` in `{place.uri}` can't be looked at: {reason(error)}") from error


Merge = Callable[[Storage, TableSpec, Sequence[SmallFile]], Sequence[StagedFile]]
"""What writes the rows of some files into new, staged ones; Spark has one of its own."""

Now = Callable[[], float]
"""The present time, seconds since the epoch, asked before each step; it raises when another one maintains by now."""


def maintain(
    tables: EmbeddedTables,
    spec: TableSpec,
    *,
    retention_hours: float = RETENTION_HOURS,
    pinned: Collection[str] = (),
    merge: Merge | None = None,
    group_rows: int = GROUP_ROWS,
    group_bytes: int = GROUP_BYTES,
    small_rows: int = GROUP_ROWS // 2,
    now: Now | None = None,
) -> Maintained:
    """Merge a table's small files, write a checkpoint, and remove files that no version within the retention needs.

    Only one process may do this at a time; the caller holds the maintainer's lock.

    Args:
        tables: The warehouse's tables.
        spec: The table.
        retention_hours: How long files of older versions are kept.
        pinned: Paths of files that pins protect.
        merge: What merges a group of files; None merges within this process.
        group_rows: The most rows that are merged at once.
        group_bytes: The most bytes that are merged at once.
        small_rows: A file of more rows is left alone.
        now: The present time; None asks this machine's clock.

    Raises:
        StorageError: It failed; the table is as it was.
        ConflictError: Another process maintains by now.
    """
    now = now or _clock
    place = tables.place(spec)
    n_merged = n_written = n_bytes = 0
    try:
        small = small_files(tables, spec, small_rows=small_rows)
        for group in groups(small, group_rows=group_rows, group_bytes=group_bytes):
            now()
            written = _merge(place, spec, group, merge or merge_here)
            if written:
                n_merged += len(group)
                n_written += written
                n_bytes += sum(f.size for f in group)
        if n_merged:
            write_checkpoint(place)
        open_table(place).cleanup_metadata()
        removed = collect_garbage(place, spec, retention_hours=retention_hours, pinned=pinned, now=now())
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise StorageError(f"Table `{spec.name}` in `{place.uri}` couldn't be maintained: {reason(error)}") from error
    return Maintained(spec.name, n_merged, n_written, n_bytes, removed.n_old, removed.n_orphans)


def has_much(tables: EmbeddedTables, spec: TableSpec) -> bool:
    """Whether `maintain_a_little` would merge something.

    Raises:
        StorageError: The table can't be read.
    """
    return any(len(files) >= FEWEST_OF_A_SIZE for files in _by_size(tables, spec))


def maintain_a_little(tables: EmbeddedTables, spec: TableSpec) -> bool:
    """Merge one group of small files of about one size, if there are enough: a bounded step, for the background.

    Returns:
        Whether something was merged.

    Raises:
        StorageError: It failed; the table is as it was.
    """
    place = tables.place(spec)
    try:
        for files in _by_size(tables, spec):
            if len(files) < FEWEST_OF_A_SIZE:
                continue
            group = next(groups(files, group_rows=GROUP_ROWS // 2, group_bytes=GROUP_BYTES), None)
            if group and _merge(place, spec, group, merge_here):
                return True
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise StorageError(f"Table `{spec.name}` in `{place.uri}` couldn't be maintained: {reason(error)}") from error
    return False


def _by_size(tables: EmbeddedTables, spec: TableSpec) -> list[list[SmallFile]]:
    """The files that are worth merging in the background, those of about one size together."""
    found: dict[int, list[SmallFile]] = {}
    for file in small_files(tables, spec, small_rows=GROUP_ROWS // 4):
        found.setdefault(int(math.log(max(file.size, 1), SIZE_STEP)), []).append(file)
    return list(found.values())


def clean(
    tables: EmbeddedTables, spec: TableSpec, *, pinned: Collection[str] = (), now: float | None = None
) -> Removed:
    """Remove files that no version within the retention needs, and no pin; and log entries past Delta's retention.

    Args:
        tables: The warehouse's tables.
        spec: The table.
        pinned: Paths of files that pins protect.
        now: The present time, seconds since the epoch; None asks this machine's clock.

    Raises:
        StorageError: The table can't be read; nothing was removed.
    """
    place = tables.place(spec)
    try:
        open_table(place).cleanup_metadata()
        return collect_garbage(place, spec, retention_hours=RETENTION_HOURS, pinned=pinned, now=now)
    except (DeltaError, OSError) as error:
        raise StorageError(f"Table `{spec.name}` couldn't be cleaned: {reason(error)}") from error


def small_files(tables: EmbeddedTables, spec: TableSpec, *, small_rows: int) -> list[SmallFile]:
    """The files of a table that are worth merging, oldest first: what was written together stays so."""
    files = (f for f in files_of(tables.handle(spec)) if f.size < SMALL_BYTES and f.n_rows <= small_rows)
    return sorted(files, key=lambda f: (f.added_at, f.path))


def groups(files: Sequence[SmallFile], *, group_rows: int, group_bytes: int) -> Iterator[list[SmallFile]]:
    """Files in groups that are merged each."""
    group: list[SmallFile] = []
    size = n_rows = 0
    for file in files:
        if group and (size + file.size > group_bytes or n_rows + file.n_rows > group_rows):
            if len(group) >= FEWEST_FILES:
                yield group
            group, size, n_rows = [], 0, 0
        group.append(file)
        size += file.size
        n_rows += file.n_rows
    if len(group) >= FEWEST_FILES:
        yield group


def merge_here(place: Path | Storage, spec: TableSpec, group: Sequence[SmallFile]) -> list[StagedFile]:
    """Write the rows of some files into one, sorted as the table declares."""
    rows = pa.concat_tables(each(storage_of(place), lambda f: read_file(place, f.path, spec), group))
    rows = rows.sort_by([(column, "ascending") for column in spec.sort_by])
    return [stage(place, rows, row_group_rows=spec.row_group_rows)]


def _merge(place: Storage, spec: TableSpec, group: Sequence[SmallFile], merge: Merge) -> int:
    """Replace files by others with the same rows; 0 when somebody else changed them meanwhile."""
    merged = merge(place, spec, group)
    n_found, n_wanted = sum(f.n_rows for f in merged), sum(f.n_rows for f in group)
    if n_found != n_wanted:
        for f in merged:
            place.delete(f.path)
        raise StorageError(
            f"Table `{spec.name}`: {len(group)} files hold {n_found} rows and their log entries say {n_wanted}; "
            "nothing was merged. Run `mlwarehouse doctor`."
        )
    done = replace_files(
        place, spec, remove=[(f.path, f.size) for f in group], add=merged, purpose="compaction", changes_data=False
    )
    return len(merged) if done else 0


def _clock() -> float:
    return time.time()
