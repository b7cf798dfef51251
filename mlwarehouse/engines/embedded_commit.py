"""The one way a commit gets into a table: staged, synced, exactly once.

delta-rs syncs nothing, so a power cut takes acknowledged commits with it. Here the data file is written and synced
first, then a log entry that adds it, then that becomes the next one of the log, and the log's folder is synced; only
then is the commit acknowledged. In an object store a written object is durable, and delta-rs puts a log entry only
where none is.

Exactly once: a transaction number is looked up in the very state that the commit goes on top of. When another commit
comes first everything starts over; so of two that race for one number exactly one wins, on an append-only table,
without a lock server. In a local folder the log's next entry is linked into place, see `embedded_follow`. In an object
store delta-rs commits: it refuses when another one wrote the same application id after its handle's snapshot. There a
commit may be recorded and its answer get lost; so whether one that seems to have failed is there is looked up in the
log, by the name of its data file, which nobody else uses.
"""

from __future__ import annotations

import json
import random
import re
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from mlwarehouse._version import __version__
from mlwarehouse.engines.base import Appended, Late, Txn
from mlwarehouse.engines.embedded_follow import CHECKPOINT_INTERVAL, TableLog, has_reached, open_table
from mlwarehouse.engines.embedded_log import LAST_CHECKPOINT, Action, checkpoint_name, entry_name
from mlwarehouse.engines.embedded_stats import column_stats
from mlwarehouse.errors import StorageError
from mlwarehouse.storage import LocalStorage, Storage, storage_of
from mlwarehouse.tables import TableSpec
from mlwarehouse.tables.spec import ROW_GROUP_ROWS

RETRIES = 100
"""Conflicts with commits of other application ids that delta-rs itself rebases over."""

MAX_TRIES = 200
"""How often a commit starts over after a conflict: with the pauses between, more than half a minute."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

MOST_SHARED = 4096
"""Texts of a dictionary that is written into each of a file's row groups."""

SAMPLE_ROWS = 1024
"""Rows by which it is told whether a column's texts repeat."""


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


def stage(
    place: Path | Storage, rows: pa.Table, *, prefix: str = "part", row_group_rows: int = ROW_GROUP_ROWS
) -> StagedFile:
    """Write rows as one synced Parquet file into a table's folder, without making it part of the table.

    Args:
        place: The table's folder.
        rows: The rows, in the table's Arrow schema.
        prefix: What the file's name begins with, so that the files of one job can be told from others.
        row_group_rows: See `TableSpec`.

    Raises:
        OSError: It couldn't be written.
    """
    storage = storage_of(place)
    name = f"{prefix}-{uuid.uuid4()}.parquet"
    rows = _own_values(rows)
    stats = json.dumps(column_stats(rows))
    if rows.num_rows > row_group_rows:
        rows = _with_small_dictionaries(rows)
    # Numbers that grow steadily (times, steps, sequence numbers) shrink to almost nothing as deltas.
    deltas = [f.name for f in rows.schema if pa.types.is_integer(f.type) or pa.types.is_timestamp(f.type)]
    dictionaries = [f.name for f in rows.schema if _repeats(rows.column(f.name))]
    try:
        with storage.open_output(name) as out:
            pq.write_table(
                rows,
                out,
                compression="zstd",
                row_group_size=row_group_rows,
                use_dictionary=dictionaries,
                # Without Arrow's own schema in the footer: dictionary-encoded text is text for every reader.
                store_schema=False,
                # So that a changed byte is found, see `embedded_checks`.
                write_page_checksum=True,
                column_encoding=dict.fromkeys(deltas, "DELTA_BINARY_PACKED"),
            )
            size = out.tell()
    except BaseException:
        with suppress(OSError):
            storage.delete(name)
        raise
    storage.sync(name)
    return StagedFile(name, size, rows.num_rows, stats)


def _repeats(column: pa.ChunkedArray) -> bool:
    """Whether a column is text that is worth a dictionary: one of keys, each its own, is looked up in it in vain."""
    if not pa.types.is_string(column.type):
        return bool(pa.types.is_dictionary(column.type))
    sample = column.slice(0, SAMPLE_ROWS)
    return len(sample) < SAMPLE_ROWS or pc.count_distinct(sample).as_py() < 0.9 * SAMPLE_ROWS


def _own_values(rows: pa.Table) -> pa.Table:
    """Rows whose dictionaries hold only what stands in a row.

    Dictionaries go into a file as a whole, and their extremes into the log: what others' rows had, and a purge has
    taken out of those, would stay there.
    """
    for index, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            chunks = [_own_values_of(chunk) for chunk in rows.column(index).chunks]
            rows = rows.set_column(index, field, pa.chunked_array(chunks, field.type))
    return rows


def _own_values_of(chunk: pa.DictionaryArray) -> pa.DictionaryArray:
    used = pc.unique(chunk.indices).drop_null()
    if len(used) == len(chunk.dictionary):
        return chunk
    codes = pc.index_in(chunk.indices, used).cast(chunk.type.index_type)
    return pa.DictionaryArray.from_arrays(codes, chunk.dictionary.take(used))


def _with_small_dictionaries(rows: pa.Table) -> pa.Table:
    """Rows whose large dictionaries are texts again: each row group would hold such a one as a whole."""
    for index, field in enumerate(rows.schema):
        column = rows.column(index)
        if pa.types.is_dictionary(field.type) and any(len(c.dictionary) > MOST_SHARED for c in column.chunks):
            rows = rows.set_column(index, field.name, column.cast(field.type.value_type))
    return rows


def sync_log(place: Path | Storage, before: int, after: int) -> None:
    """Force a table's log entries behind one version, up to another, to disk: only then is a commit acknowledged.

    And first the checkpoint that delta-rs has written behind one of them, and the file that names it: with the one
    empty after a power cut and the other not, the table couldn't be read.
    """
    log = storage_of(place).child("_delta_log")
    versions = range(before + 1, after + 1)
    made = [checkpoint_name(v) for v in versions if (v + 1) % CHECKPOINT_INTERVAL == 0]
    made = [*made, LAST_CHECKPOINT] if made else []
    log.sync(*(name for name in made if log.exists(name)), *(entry_name(v) for v in versions))


def commit(
    place: Path | Storage,
    spec: TableSpec,
    files: Sequence[StagedFile],
    txns: Sequence[Txn],
    *,
    holding: Sequence[Txn] = (),
    log: TableLog | None = None,
    keep: bool = False,
) -> Appended:
    """Make staged files part of a table, durably and at most once.

    Args:
        place: The table's folder.
        spec: The table.
        files: What `stage`, or Spark, has put there. They are removed when nothing is added.
        txns: Transaction numbers to record; if the table has reached one of them, nothing is added.
        holding: See `Engine.append`.
        log: The table's log, as it is known from the commits before; None for one commit.
        keep: Leave the files there when nothing is added.

    Returns:
        The version, and whether this call added the files.

    Raises:
        StorageError: The commit failed; nothing was added, unless the message says that this isn't known.
    """
    storage = storage_of(place)
    if not isinstance(storage, LocalStorage):
        return _commit_there(storage, spec, files, txns, holding, keep=keep)
    log = log or TableLog(storage.folder("A log that is followed"))
    try:
        version = log.commit(_entry_of(spec, files), txns, holding)
        if version is None and not keep:
            _remove(storage, files)
    except (DeltaError, OSError) as error:
        raise StorageError(f"Table `{spec.name}` in `{storage.uri}` couldn't be written: {reason(error)}") from error
    if version is None:
        return Appended(log.version, applied=False, n_rows=0)
    return Appended(version, applied=True, n_rows=sum(f.n_rows for f in files))


def _entry_of(spec: TableSpec, files: Sequence[StagedFile]) -> list[Action]:
    """The actions of a log entry that adds files."""
    now_ms = time.time_ns() // 1_000_000
    info = {
        "timestamp": now_ms,
        "operation": "WRITE",
        "operationParameters": {"mode": "Append", "partitionBy": "[]"},
        "isBlindAppend": True,
        "engineInfo": f"mlwarehouse/{__version__}",
        # So that no two entries are the same, also where they add nothing.
        "txnId": str(uuid.uuid4()),
        **_marks(spec),
    }
    adds = [
        {
            # A path is part of an address in the log.
            "path": quote(f.path),
            "partitionValues": {},
            "size": f.size,
            "modificationTime": now_ms,
            "dataChange": True,
            "stats": f.stats,
        }
        for f in files
    ]
    return [{"commitInfo": info}, *({"add": add} for add in adds)]


def _marks(spec: TableSpec) -> dict[str, str]:
    """What a commit says of its writer."""
    return {"mlwarehouse": __version__, "schema_version": str(spec.version)}


def _commit_there(
    storage: Storage,
    spec: TableSpec,
    files: Sequence[StagedFile],
    txns: Sequence[Txn],
    holding: Sequence[Txn],
    *,
    keep: bool,
) -> Appended:
    """See `commit`: in an object store."""
    now_ms = time.time_ns() // 1_000_000
    actions: list[AddAction | RemoveAction] = [
        AddAction(
            path=f.path, size=f.size, partition_values={}, modification_time=now_ms, data_change=True, stats=f.stats
        )
        for f in files
    ]
    properties = CommitProperties(
        app_transactions=[Transaction(t.app_id, t.version) for t in txns],
        # Where an answer may get lost, delta-rs would take its own commit for another's and add the same once more; and
        # it doesn't look at numbers that are only held.
        max_commit_retries=RETRIES if (txns or storage.creates_exclusively) and not holding else 0,
        custom_metadata=_marks(spec),
    )
    tries = 0
    # The version that the table had when this commit was last tried: where it is recorded, it is behind that.
    before: int | None = None
    while True:
        try:
            table = open_table(storage)
            if before is not None and _has_commit_of(storage, files, before, table.version()):
                break
            is_reached = any(has_reached(table.transaction_version(t.app_id), t) for t in txns)
            if is_reached or any((table.transaction_version(t.app_id) or 0) != t.version for t in holding):
                if not keep:
                    _remove(storage, files)
                return Appended(table.version(), applied=False, n_rows=0)
            before = table.version()
            table.create_write_transaction(actions, mode="append", schema=table.schema(), commit_properties=properties)
            table.update_incremental()
            break
        except CommitFailedError as error:
            tries += 1
            if tries > MAX_TRIES:
                raise StorageError(
                    f"Table `{spec.name}` in `{storage.uri}` was written by others {MAX_TRIES} times while this commit "
                    f"was tried, so nothing was added; try again later ({reason(error)})."
                ) from error
            time.sleep(random.uniform(0, min(0.01 * tries, 0.5)))
        except (DeltaError, OSError) as error:
            doubt = ""
            if before is not None:
                try:
                    table = open_table(storage)
                    if _has_commit_of(storage, files, before, table.version()):
                        break
                except (DeltaError, OSError):
                    doubt = " (whether the rows were added can't be told until it can be read again)"
            raise StorageError(
                f"Table `{spec.name}` in `{storage.uri}` couldn't be written: {reason(error)}{doubt}"
            ) from error
    after = table.version()
    sync_log(storage, before, after)
    return Appended(after, applied=True, n_rows=sum(f.n_rows for f in files))


def _remove(storage: Storage, files: Sequence[StagedFile]) -> None:
    for f in files:
        storage.delete(f.path)


def commit_late(
    place: Storage,
    spec: TableSpec,
    rows: pa.Table,
    decide: Callable[[], Late | None],
    *,
    log: Callable[[], TableLog | None],
) -> Appended:
    """See `Engine.append_late`.

    Args:
        place: The table's folder.
        spec: The table.
        rows: The rows, in the table's Arrow schema.
        decide: Says what goes into the commit.
        log: The table's log, up to date.

    Raises:
        StorageError: It failed; nothing was added, unless the message says that this isn't known.
    """
    log()
    files: list[StagedFile] = []
    in_doubt = False
    try:
        files.append(stage(place, rows, row_group_rows=spec.row_group_rows))
        for tries in range(MAX_TRIES):
            late = decide()
            if late is None:
                break
            in_doubt = True
            done = commit(place, spec, files, late.txns, holding=late.holding, log=log(), keep=True)
            if done.applied:
                return done
            in_doubt = False
            time.sleep(random.uniform(0, min(0.01 * tries, 0.5)))
        else:
            raise StorageError(
                f"Table `{spec.name}` in `{place.uri}` was written by others {MAX_TRIES} times while this commit was "
                "tried, so nothing was added; try again later."
            )
    except OSError as error:
        raise StorageError(f"Table `{spec.name}` in `{place.uri}` couldn't be written: {error}") from error
    except BaseException:
        if not in_doubt:
            _remove(place, files)
        raise
    _remove(place, files)
    return Appended(open_table(place).version(), applied=False, n_rows=0)


def _has_commit_of(storage: Storage, files: Sequence[StagedFile], before: int, after: int) -> bool:
    """Whether one of the log entries behind one version, up to another, adds these files."""
    return bool(files) and has_commit(storage, files[0].path, before, after)


def has_commit(storage: Storage, mark: str, before: int, after: int) -> bool:
    """Whether one of a table's log entries behind one version, up to another, holds a text that no other does."""
    log = storage.child("_delta_log")
    return any(mark.encode() in log.read(entry_name(v)) for v in range(before + 1, after + 1))


def reason(error: Exception) -> str:
    """What an error of delta-rs says, on one line: its start and its cause, without the trace of its threads."""
    text = _COLOURS.sub("", str(error)).strip()
    if not text:
        return type(error).__name__
    lines = [line.strip() for line in text.splitlines()]
    causes = [line.removeprefix("↳").strip() for line in lines[1:] if line.startswith("↳")]
    return f"{lines[0]}: {causes[-1]}" if causes else lines[0]
