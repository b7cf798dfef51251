"""The commit that puts data files in the place of others: compaction, purge and repair go through it.

As with an append, the files are staged first and the log entry decides. In an object store an answer may get lost, so
whether a commit is there is looked up in the log, by a mark that it carries; what may be part of the table is never
removed.
"""

from __future__ import annotations

import datetime as dt
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from mlwarehouse._version import __version__
from mlwarehouse.engines.casting import cast_strict
from mlwarehouse.engines.embedded_commit import RETRIES, StagedFile, has_commit, reason, sync_log
from mlwarehouse.engines.embedded_follow import open_table
from mlwarehouse.errors import StorageError
from mlwarehouse.storage import Storage, storage_of
from mlwarehouse.tables import TableSpec

TRIES = 20
"""How often a replacement starts over when others commit first."""

LISTED_WITH_A_GAP = "Expected contiguous commit files"
"""What delta-rs says of a listing that has an entry and not the one before it."""


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


def replace_files(
    place: Path | Storage,
    spec: TableSpec,
    *,
    remove: Sequence[tuple[str, int]],
    add: Sequence[StagedFile],
    purpose: str,
    changes_data: bool = False,
) -> bool:
    """Commit new files in the place of others, durably, if all of those are still part of the table.

    Args:
        place: The table's folder.
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
    storage = storage_of(place)
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
    # What tells this commit from all others when its answer was lost.
    properties, mark = _properties(storage, purpose)
    # The version that the table had when this was first tried: where it is recorded, it is behind that.
    before: int | None = None
    for _ in range(TRIES):
        try:
            table = open_table(storage)
            if before is not None and has_commit(storage, mark, before, table.version()):
                sync_log(storage, before, table.version())
                return True
            before = table.version() if before is None else before
            if not {name for name, _ in remove} <= {f.path for f in files_of(table)}:
                for f in add:
                    storage.delete(f.path)
                return False
            table.create_write_transaction(actions, mode="append", schema=table.schema(), commit_properties=properties)
            table.update_incremental()
            sync_log(storage, before, table.version())
            return True
        except CommitFailedError:
            # Somebody else committed first; or, in an object store, this was committed and its answer got lost.
            time.sleep(random.uniform(0, 0.05))
        except (DeltaError, OSError) as error:
            if LISTED_WITH_A_GAP in str(error):
                # delta-rs looked through the log as others added to it; whether this was committed is looked up next.
                time.sleep(random.uniform(0, 0.05))
                continue
            # Staged files stay: they may be part of the table. If they aren't, garbage collection takes them.
            raise StorageError(
                f"Table `{spec.name}` in `{storage.uri}` couldn't be written: {reason(error)}"
            ) from error
    raise StorageError(f"Table `{spec.name}` in `{storage.uri}` was written by others {TRIES} times; try again later.")


def set_append_only(place: Path | Storage, *, on: bool, purpose: str) -> None:
    """Let rows be removed from a table, or forbid it again."""
    table = open_table(place)
    wanted = "true" if on else "false"
    if table.metadata().configuration.get("delta.appendOnly") != wanted:
        before = table.version()
        properties, _ = _properties(storage_of(place), purpose)
        table.alter.set_table_properties({"delta.appendOnly": wanted}, commit_properties=properties)
        sync_log(place, before, open_table(place).version())


def read_file(place: Path | Storage, name: str, spec: TableSpec) -> pa.Table:
    """A data file of a table's folder in the declared schema; columns that it is too old for are null."""
    rows = pq.ParquetFile(pa.BufferReader(storage_of(place).read(name))).read(use_threads=False)
    known = set(spec.arrow_schema().names)
    return cast_strict(rows.select([n for n in rows.column_names if n in known]), spec)


def files_of(table: DeltaTable) -> Iterator[SmallFile]:
    """The data files of a table at the version that a handle has."""
    actions = pa.table(table.get_add_actions(flatten=True))
    for row in actions.select(["path", "size_bytes", "num_records", "modification_time"]).to_pylist():
        yield SmallFile(row["path"], row["size_bytes"], row["num_records"] or 0, row["modification_time"])


def _properties(storage: Storage, purpose: str) -> tuple[CommitProperties, str]:
    """How a commit of maintenance is made, and a mark that only its log entry has."""
    mark = uuid.uuid4().hex
    properties = CommitProperties(
        # Where an answer may get lost, delta-rs would take its own commit for another's.
        max_commit_retries=RETRIES if storage.creates_exclusively else 0,
        custom_metadata={"mlwarehouse": __version__, "purpose": purpose, "mark": mark},
    )
    return properties, mark
