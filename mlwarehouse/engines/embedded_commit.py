"""The one way a commit gets into a table: staged, synced, exactly once.

delta-rs syncs nothing, so a power cut takes acknowledged commits with it. Here the data file is written and synced
first, then its add action is committed, then the log entry and its folder are synced; only then is it acknowledged.

Exactly once: the transaction number is looked up on the handle that commits. delta-rs refuses the commit when another
one wrote the same application id after that handle's snapshot, and then everything starts over; so of two that race
for one number exactly one wins, on an append-only table, without a lock server.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from mlwarehouse._version import __version__
from mlwarehouse.disk import sync_path
from mlwarehouse.engines.base import Appended, Txn
from mlwarehouse.engines.embedded_stats import column_stats
from mlwarehouse.errors import StorageError
from mlwarehouse.tables import TableSpec

RETRIES = 100
"""Conflicts with commits of other application ids that delta-rs itself rebases over."""

ROW_GROUP_ROWS = 256 * 1024


@dataclass(frozen=True)
class StagedFile:
    """A Parquet file that stands in a table's folder and isn't part of the table yet.

    Attributes:
        path: Relative to the table's folder, with ``/``.
        size: Bytes.
        n_rows: Rows.
        stats: Delta's per-file statistics, as JSON.
    """

    path: str
    size: int
    n_rows: int
    stats: str


def stage(folder: Path, rows: pa.Table, *, prefix: str = "part") -> StagedFile:
    """Write rows as one synced Parquet file into a table's folder, without making it part of the table.

    Args:
        folder: The table's folder.
        rows: The rows, in the table's Arrow schema.
        prefix: What the file's name begins with, so that the files of one job can be told from others.
    """
    path = folder / f"{prefix}-{uuid.uuid4()}.parquet"
    # Numbers that grow steadily (times, steps, sequence numbers) shrink to almost nothing as deltas.
    deltas = [f.name for f in rows.schema if pa.types.is_integer(f.type) or pa.types.is_timestamp(f.type)]
    dictionaries = [f.name for f in rows.schema if pa.types.is_string(f.type) or pa.types.is_dictionary(f.type)]
    pq.write_table(
        rows,
        path,
        compression="zstd",
        row_group_size=ROW_GROUP_ROWS,
        use_dictionary=dictionaries,
        # Without Arrow's own schema in the footer: dictionary-encoded text is text for every reader.
        store_schema=False,
        column_encoding=dict.fromkeys(deltas, "DELTA_BINARY_PACKED"),
    )
    sync_path(path)
    sync_path(folder)
    return StagedFile(path.name, path.stat().st_size, rows.num_rows, json.dumps(column_stats(rows)))


def sync_log(folder: Path, before: int, after: int) -> None:
    """Force a table's log entries behind one version, up to another, to disk: only then is a commit acknowledged."""
    log = folder / "_delta_log"
    for version in range(before + 1, after + 1):
        sync_path(log / f"{version:020d}.json")
    sync_path(log)


def has_reached(recorded: int | None, txn: Txn) -> bool:
    """Whether a table that recorded this number for the transaction's application has the transaction already."""
    return recorded is not None and recorded >= txn.version


def commit(folder: Path, spec: TableSpec, files: Sequence[StagedFile], txns: Sequence[Txn]) -> Appended:
    """Make staged files part of a table, durably and at most once.

    Args:
        folder: The table's folder.
        spec: The table.
        files: What `stage`, or Spark, has put there. They are removed when the transaction is in the table already.
        txns: Transaction numbers to record; the first decides whether this commit is there already.

    Returns:
        The version, and whether this call added the files.

    Raises:
        StorageError: The commit failed; nothing was added.
    """
    now_ms = time.time_ns() // 1_000_000
    actions: list[AddAction | RemoveAction] = [
        AddAction(
            path=f.path, size=f.size, partition_values={}, modification_time=now_ms, data_change=True, stats=f.stats
        )
        for f in files
    ]
    properties = CommitProperties(
        app_transactions=[Transaction(t.app_id, t.version) for t in txns],
        max_commit_retries=RETRIES,
        custom_metadata={"mlwarehouse": __version__, "schema_version": str(spec.version)},
    )
    tries = 0
    while True:
        try:
            table = DeltaTable(folder)
            if txns and has_reached(table.transaction_version(txns[0].app_id), txns[0]):
                for f in files:
                    (folder / f.path).unlink(missing_ok=True)
                return Appended(table.version(), applied=False, n_rows=0)
            before = table.version()
            table.create_write_transaction(actions, mode="append", schema=table.schema(), commit_properties=properties)
            break
        except CommitFailedError:
            tries += 1
            time.sleep(random.uniform(0, min(0.01 * tries, 0.5)))
        except DeltaError as error:
            raise StorageError(f"Table `{spec.name}` in `{folder}` couldn't be written: {reason(error)}") from error
    table.update_incremental()
    after = table.version()
    sync_log(folder, before, after)
    return Appended(after, applied=True, n_rows=sum(f.n_rows for f in files))


def reason(error: Exception) -> str:
    """What an error of delta-rs says, without the trace of its threads."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
