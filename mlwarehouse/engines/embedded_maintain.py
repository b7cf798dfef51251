"""Looking after the tables: compaction by the same staged, synced commit, checkpoints, vacuum, and what is there.

Compaction replaces small files by one file with the same rows, sorted as the table declares. It changes no row, so an
append-only table allows it, the change feed shows nothing, and readers of an older version keep their files until
vacuum takes them, behind the retention.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from mlwarehouse._version import __version__
from mlwarehouse.disk import sync_path
from mlwarehouse.engines.casting import cast_strict
from mlwarehouse.engines.embedded_commit import reason, stage, sync_log
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.errors import StorageError
from mlwarehouse.tables import TableSpec

SMALL_BYTES = 32 << 20
"""A file smaller than this is worth merging with others."""

GROUP_BYTES = 128 << 20
"""At most this much is merged into one file: it bounds the memory."""

FEWEST_FILES = 2

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
    """

    name: str
    version: int
    n_files: int
    n_bytes: int
    n_rows: int
    small_share: float
    n_log_entries: int


@dataclass(frozen=True)
class Maintained:
    """What was done to a table.

    Attributes:
        name: The table.
        n_merged: Files that were merged.
        n_written: Files that they became.
        n_vacuumed: Files that no version within the retention needed, and that were removed.
    """

    name: str
    n_merged: int
    n_written: int
    n_vacuumed: int


def health(tables: EmbeddedTables, spec: TableSpec) -> TableHealth:
    """Look at one table.

    Raises:
        StorageError: It can't be read.
    """
    table = tables.handle(spec)
    files = list(_files(table))
    log = tables.path(spec) / "_delta_log"
    checkpoints = [int(p.name.split(".")[0]) for p in log.glob("*.checkpoint*.parquet")]
    since = table.version() - max(checkpoints, default=-1)
    return TableHealth(
        name=spec.name,
        version=table.version(),
        n_files=len(files),
        n_bytes=sum(f.size for f in files),
        n_rows=sum(f.n_rows for f in files),
        small_share=sum(f.size < SMALL_BYTES for f in files) / len(files) if files else 0.0,
        n_log_entries=since,
    )


def maintain(tables: EmbeddedTables, spec: TableSpec, *, retention_hours: int = RETENTION_HOURS) -> Maintained:
    """Merge a table's small files, write a checkpoint, and remove files that no version within the retention needs.

    Only one process may do this at a time; the caller holds the maintainer's lock.

    Args:
        tables: The warehouse's tables.
        spec: The table.
        retention_hours: How long files of older versions are kept; Delta refuses less than its own 168.

    Raises:
        StorageError: It failed; the table is as it was.
    """
    n_merged = n_written = 0
    path = tables.path(spec)
    try:
        for group in _groups(DeltaTable(path)):
            if _merge(path, spec, group):
                n_merged += len(group)
                n_written += 1
        table = DeltaTable(path)
        if n_merged:
            table.create_checkpoint()
            log = path / "_delta_log"
            for file in log.glob(f"{table.version():020d}.checkpoint*.parquet"):
                sync_path(file)
            sync_path(log)
        removed = table.vacuum(retention_hours=retention_hours, dry_run=False)
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise StorageError(f"Table `{spec.name}` in `{path}` couldn't be maintained: {reason(error)}") from error
    return Maintained(spec.name, n_merged, n_written, len(removed))


@dataclass(frozen=True)
class _File:
    path: str
    size: int
    n_rows: int


def _files(table: DeltaTable) -> Iterator[_File]:
    actions = pa.table(table.get_add_actions(flatten=True))
    for row in actions.select(["path", "size_bytes", "num_records"]).to_pylist():
        yield _File(row["path"], row["size_bytes"], row["num_records"] or 0)


def _groups(table: DeltaTable) -> Iterator[list[_File]]:
    """Small files, in groups that become one file each."""
    group: list[_File] = []
    for file in sorted((f for f in _files(table) if f.size < SMALL_BYTES), key=lambda f: f.path):
        if group and sum(f.size for f in group) + file.size > GROUP_BYTES:
            if len(group) >= FEWEST_FILES:
                yield group
            group = []
        group.append(file)
    if len(group) >= FEWEST_FILES:
        yield group


def _merge(path: Path, spec: TableSpec, group: list[_File]) -> bool:
    """Replace files by one with the same rows; False when somebody else changed them meanwhile."""
    parts = [_read(path / f.path, spec) for f in group]
    rows = pa.concat_tables(parts).sort_by([(column, "ascending") for column in spec.sort_by])
    if rows.num_rows != sum(f.n_rows for f in group):
        raise StorageError(
            f"Table `{spec.name}`: {len(group)} files hold {rows.num_rows} rows and their log entries say "
            f"{sum(f.n_rows for f in group)}; nothing was merged. Run `mlwarehouse doctor`."
        )
    merged = stage(path, rows)
    now_ms = time.time_ns() // 1_000_000
    actions: list[AddAction | RemoveAction] = [
        AddAction(
            path=merged.path,
            size=merged.size,
            partition_values={},
            modification_time=now_ms,
            data_change=False,
            stats=merged.stats,
        ),
        *(RemoveAction(f.path, False, now_ms, f.size, {}) for f in group),
    ]
    table = DeltaTable(path)
    before = table.version()
    if not {f.path for f in group} <= {f.path for f in _files(table)}:
        (path / merged.path).unlink(missing_ok=True)
        return False
    try:
        table.create_write_transaction(
            actions,
            mode="append",
            schema=table.schema(),
            commit_properties=CommitProperties(
                max_commit_retries=100, custom_metadata={"mlwarehouse": __version__, "purpose": "compaction"}
            ),
        )
    except CommitFailedError:
        (path / merged.path).unlink(missing_ok=True)
        return False
    table.update_incremental()
    sync_log(path, before, table.version())
    return True


def _read(file: Path, spec: TableSpec) -> pa.Table:
    """A data file in the declared schema; columns that it is too old for are null."""
    rows = pq.ParquetFile(file).read()
    known = set(spec.arrow_schema().names)
    return cast_strict(rows.select([n for n in rows.column_names if n in known]), spec)
