"""Looking after the tables: compaction by the same staged, synced commit, checkpoints, garbage, and what is there.

Compaction replaces small files by one file with the same rows, sorted as the table declares. It changes no row, so an
append-only table allows it, the change feed shows nothing, and readers of an older version keep their files until
garbage collection takes them, behind the retention.
"""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from mlwarehouse._version import __version__
from mlwarehouse.engines.casting import cast_strict
from mlwarehouse.engines.embedded_checks import orphans
from mlwarehouse.engines.embedded_commit import StagedFile, reason, stage, sync_log
from mlwarehouse.engines.embedded_follow import write_checkpoint
from mlwarehouse.engines.embedded_gc import Removed, collect_garbage
from mlwarehouse.engines.embedded_log import replay
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.errors import StorageError
from mlwarehouse.storage import LocalStorage
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
            not counted in an object store.
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


@dataclass(frozen=True)
class SmallFile:
    """A data file that is worth merging.

    Attributes:
        path: Relative to the table's folder.
        size: Bytes.
        n_rows: Rows.
        added_at: When it was written.
    """

    path: str
    size: int
    n_rows: int
    added_at: dt.datetime


def health(tables: EmbeddedTables, spec: TableSpec) -> TableHealth:
    """Look at one table.

    Raises:
        StorageError: It can't be read.
    """
    table = tables.handle(spec)
    files = list(_files(table))
    names = tables.place(spec).child("_delta_log").names()
    since = table.version() - max((int(n.split(".")[0]) for n in names if ".checkpoint" in n), default=-1)
    lost = _orphan_sizes(tables.path(spec), spec) if isinstance(tables.storage, LocalStorage) else []
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


def _orphan_sizes(path: Path, spec: TableSpec) -> list[int]:
    try:
        # Sizes first: a file may be committed, or removed, at this moment.
        sizes = {p.name: p.stat().st_size for p in path.glob("*.parquet")}
        return [sizes[p.name] for p in orphans(path, replay(path)) if p.name in sizes]
    except (ValueError, OSError) as error:
        raise StorageError(f"Table `{spec.name}` in `{path}` can't be looked at: {reason(error)}") from error


Merge = Callable[[Path, TableSpec, Sequence[SmallFile]], Sequence[StagedFile]]
"""What writes the rows of some files into new, staged ones; Spark has one of its own."""


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

    Raises:
        StorageError: It failed; the table is as it was.
    """
    path = tables.path(spec)
    n_merged = n_written = n_bytes = 0
    try:
        small = small_files(tables, spec, small_rows=small_rows)
        for group in groups(small, group_rows=group_rows, group_bytes=group_bytes):
            written = _merge(path, spec, group, merge or merge_here)
            if written:
                n_merged += len(group)
                n_written += written
                n_bytes += sum(f.size for f in group)
        if n_merged:
            write_checkpoint(path)
        DeltaTable(path).cleanup_metadata()
        removed = collect_garbage(path, spec, retention_hours=retention_hours, pinned=pinned)
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise StorageError(f"Table `{spec.name}` in `{path}` couldn't be maintained: {reason(error)}") from error
    return Maintained(spec.name, n_merged, n_written, n_bytes, removed.n_old, removed.n_orphans)


def maintain_a_little(tables: EmbeddedTables, spec: TableSpec) -> bool:
    """Merge one group of small files of about one size, if there are enough: a bounded step, for the background.

    Returns:
        Whether something was merged.

    Raises:
        StorageError: It failed; the table is as it was.
    """
    path = tables.path(spec)
    by_size: dict[int, list[SmallFile]] = {}
    try:
        for file in small_files(tables, spec, small_rows=GROUP_ROWS // 4):
            by_size.setdefault(int(math.log(max(file.size, 1), SIZE_STEP)), []).append(file)
        for files in by_size.values():
            if len(files) < FEWEST_OF_A_SIZE:
                continue
            group = next(groups(files, group_rows=GROUP_ROWS // 2, group_bytes=GROUP_BYTES), None)
            if group and _merge(path, spec, group, merge_here):
                return True
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise StorageError(f"Table `{spec.name}` in `{path}` couldn't be maintained: {reason(error)}") from error
    return False


def clean(tables: EmbeddedTables, spec: TableSpec, *, pinned: Collection[str] = ()) -> Removed:
    """Remove files that no version within the retention needs, and no pin; and log entries past Delta's retention.

    Raises:
        StorageError: The table can't be read; nothing was removed.
    """
    try:
        DeltaTable(tables.path(spec)).cleanup_metadata()
        return collect_garbage(tables.path(spec), spec, retention_hours=RETENTION_HOURS, pinned=pinned)
    except (DeltaError, OSError) as error:
        raise StorageError(f"Table `{spec.name}` couldn't be cleaned: {reason(error)}") from error


def small_files(tables: EmbeddedTables, spec: TableSpec, *, small_rows: int) -> list[SmallFile]:
    """The files of a table that are worth merging, oldest first: what was written together stays so."""
    files = (f for f in _files(tables.handle(spec)) if f.size < SMALL_BYTES and f.n_rows <= small_rows)
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


def replace_files(
    path: Path,
    spec: TableSpec,
    *,
    remove: Sequence[tuple[str, int]],
    add: Sequence[StagedFile],
    purpose: str,
    changes_data: bool = False,
) -> bool:
    """Commit new files in the place of others, durably, if all of those are still part of the table.

    Args:
        path: The table's folder.
        spec: The table.
        remove: Path and size of each file that goes.
        add: Staged files that come; they are removed again when nothing was committed.
        purpose: Why, for the commit's own words.
        changes_data: Whether rows change: False says that the table holds the same rows.

    Returns:
        Whether it was committed; False when somebody else changed the files meanwhile.

    Raises:
        StorageError: The commit failed.
    """
    now_ms = time.time_ns() // 1_000_000
    actions: list[AddAction | RemoveAction] = [
        AddAction(
            path=f.path,
            size=f.size,
            partition_values={},
            modification_time=now_ms,
            data_change=changes_data,
            stats=f.stats,
        )
        for f in add
    ]
    actions += [RemoveAction(name, changes_data, now_ms, size, {}) for name, size in remove]
    try:
        table = DeltaTable(path)
        before = table.version()
        if {name for name, _ in remove} <= {f.path for f in _files(table)}:
            table.create_write_transaction(
                actions, mode="append", schema=table.schema(), commit_properties=_properties(purpose)
            )
            table.update_incremental()
            sync_log(path, before, table.version())
            return True
    except CommitFailedError:
        pass
    except DeltaError as error:
        raise StorageError(f"Table `{spec.name}` in `{path}` couldn't be written: {reason(error)}") from error
    for f in add:
        (path / f.path).unlink(missing_ok=True)
    return False


def set_append_only(path: Path, *, on: bool, purpose: str) -> None:
    """Let rows be removed from a table, or forbid it again."""
    table = DeltaTable(path)
    wanted = "true" if on else "false"
    if table.metadata().configuration.get("delta.appendOnly") != wanted:
        before = table.version()
        table.alter.set_table_properties({"delta.appendOnly": wanted}, commit_properties=_properties(purpose))
        sync_log(path, before, DeltaTable(path).version())


def read_file(file: Path, spec: TableSpec) -> pa.Table:
    """A data file in the declared schema; columns that it is too old for are null."""
    rows = pq.ParquetFile(file).read(use_threads=False)
    known = set(spec.arrow_schema().names)
    return cast_strict(rows.select([n for n in rows.column_names if n in known]), spec)


def merge_here(path: Path, spec: TableSpec, group: Sequence[SmallFile]) -> list[StagedFile]:
    """Write the rows of some files into one, sorted as the table declares."""
    rows = pa.concat_tables([read_file(path / f.path, spec) for f in group])
    return [stage(path, rows.sort_by([(column, "ascending") for column in spec.sort_by]))]


def _merge(path: Path, spec: TableSpec, group: Sequence[SmallFile], merge: Merge) -> int:
    """Replace files by others with the same rows; 0 when somebody else changed them meanwhile."""
    merged = merge(path, spec, group)
    n_found, n_wanted = sum(f.n_rows for f in merged), sum(f.n_rows for f in group)
    if n_found != n_wanted:
        for f in merged:
            (path / f.path).unlink(missing_ok=True)
        raise StorageError(
            f"Table `{spec.name}`: {len(group)} files hold {n_found} rows and their log entries say {n_wanted}; "
            "nothing was merged. Run `mlwarehouse doctor`."
        )
    done = replace_files(
        path, spec, remove=[(f.path, f.size) for f in group], add=merged, purpose="compaction", changes_data=False
    )
    return len(merged) if done else 0


def _files(table: DeltaTable) -> Iterator[SmallFile]:
    actions = pa.table(table.get_add_actions(flatten=True))
    for row in actions.select(["path", "size_bytes", "num_records", "modification_time"]).to_pylist():
        yield SmallFile(row["path"], row["size_bytes"], row["num_records"] or 0, row["modification_time"])


def _properties(purpose: str) -> CommitProperties:
    return CommitProperties(max_commit_retries=100, custom_metadata={"mlwarehouse": __version__, "purpose": purpose})
