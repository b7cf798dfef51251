"""A table's log in a local folder, followed entry by entry: what is committed at this moment, and what comes next.

delta-rs lists the log's whole folder several times in each commit, so that a commit costs more the more there were.
Here the next entry is looked for by its name, and committed by giving a synced file that name: a link fails where the
name is taken, so of all who want to be the next exactly one is, and the others look at what it has committed and decide
anew. An entry is on disk before anybody can see it.

What is known from before is believed only while the newest entry that it goes up to is there with the same content. A
folder that was restored from a copy, or made anew, has another one there, or none, and is loaded anew.
"""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from mlwarehouse.disk import prepared, sync_path
from mlwarehouse.engines.base import Txn
from mlwarehouse.engines.embedded_log import (
    LAST_CHECKPOINT,
    Action,
    actions_of,
    checkpoint_name,
    entry_path,
    newest_by_name,
)
from mlwarehouse.errors import StorageError
from mlwarehouse.storage import LocalStorage, Storage, storage_of

LOGGER = logging.getLogger("mlwarehouse")

CHECKPOINT_INTERVAL = 50
"""Commits between two checkpoints."""

CLEANUPS = 20
"""Checkpoints between two removals of log entries that are past Delta's retention."""

MOST_FOLLOWED = 2 * CHECKPOINT_INTERVAL
"""After this many entries the table is loaded anew: what changed behind our back otherwise is believed no longer."""

MAX_TRIES = 2000
"""How often a commit starts over because another one came first: with the pauses between, more than half a minute."""


LISTINGS = 10
"""How often a log that can't be read is looked through: a listing beside which entries are added may lack one of them
and have the next."""

SETTLED_NS = 100_000_000
"""A folder whose last change is older than this won't have had another one at the same time: clocks of file systems
tick every few milliseconds, and those of servers may be some way off."""


def open_table(place: Path | Storage, *, version: int | None = None) -> DeltaTable:
    """A new handle of the table in a folder, at a version or the newest.

    Raises:
        DeltaError: The table can't be read.
        OSError: Likewise.
    """
    storage = storage_of(place)
    options = None if storage.delta_options is None else dict(storage.delta_options)
    for tries in range(1, LISTINGS):
        changed = _changed_at(storage)
        try:
            return DeltaTable(storage.uri, version=version, storage_options=options)
        except TableNotFoundError:
            raise
        except DeltaError:
            if changed is not None and changed == _changed_at(storage):
                raise
            time.sleep(0.005 * tries)
    return DeltaTable(storage.uri, version=version, storage_options=options)


def _changed_at(storage: Storage) -> int | None:
    """When a log got or lost an entry for the last time, in ns; None where that can't be told, or was a moment ago.

    While it stays the same, a listing lacks nothing.
    """
    if not isinstance(storage, LocalStorage):
        return None
    try:
        changed = (storage.folder("A log") / "_delta_log").stat().st_mtime_ns
    except OSError:
        return None
    return changed if abs(time.time_ns() - changed) > SETTLED_NS else None


class NewestTable:
    """A handle of a table, at its newest version whenever it is asked for. Not safe for threads.

    In a local folder it costs little where nothing is new, and a table in the place of another is noticed.
    """

    def __init__(self, place: Path | Storage, check: Callable[[DeltaTable], None] = lambda _: None) -> None:
        """Open nothing yet.

        Args:
            place: The table's folder.
            check: Refuses a table that must not be read, by an exception; called with each version that is new.
        """
        self._storage = storage_of(place)
        self._folder = self._storage.folder("A log") if isinstance(self._storage, LocalStorage) else None
        self._check = check
        self._table: DeltaTable | None = None
        self._version: int | None = None
        self._last = b""

    def version(self) -> int:
        """The newest version. To know it, a table in a local folder needn't be opened, which takes milliseconds.

        Raises:
            DeltaError: The table can't be read.
            OSError: Likewise.
        """
        if self._folder is not None and self._table is None:
            known = self._version
            if known is not None and not _is_there(self._folder, known, self._last):
                known = None
            found = newest_by_name(self._folder, known)
            # An entry may be cleaned up as it is read.
            if found is not None and (last := _read(self._folder, found)):
                self._version, self._last = found, last
                return found
        return self.get().version()

    def get(self) -> DeltaTable:
        """The handle: the same object while the table stays the same.

        Raises:
            DeltaError: The table can't be read.
            OSError: Likewise.
        """
        table = self._table
        if table is not None and self._folder is not None:
            if not _is_there(self._folder, table.version(), self._last):
                table = None
            elif not entry_path(self._folder, table.version() + 1).exists():
                return table
        # Forgotten if this fails.
        self._table = None
        known = None if table is None else table.version()
        if table is None:
            table = open_table(self._storage)
        else:
            table.update_incremental()
        if table.version() != known:
            self._check(table)
        if self._folder is not None:
            self._last = _read(self._folder, table.version()) or b""
        self._table = table
        return table


class TableLog:
    """The log of a table in a local folder, as those who commit to it know it. Threads may share it."""

    def __init__(self, folder: Path, check: Callable[[DeltaTable], None] = lambda _: None) -> None:
        """Load nothing yet.

        Args:
            folder: The table's folder.
            check: Refuses a table that must not be written, by an exception; called whenever its columns or properties
                may be other ones.
        """
        self._folder = folder
        self._check = check
        self._lock = threading.RLock()
        self._base: DeltaTable | None = None
        self._version = -1
        self._last = b""
        self._txns: dict[str, int | None] = {}

    @property
    def version(self) -> int:
        """The version that was followed up to."""
        return self._version

    def follow(self) -> None:
        """Take up what was committed since.

        Raises:
            DeltaError: The table can't be read.
            OSError: Likewise.
        """
        with self._lock:
            base = self._base
            if base is None or not _is_there(self._folder, self._version, self._last):
                self._load()
                return
            while (entry := _read(self._folder, self._version + 1)) is not None:
                if self._version - base.version() >= MOST_FOLLOWED or not self._take(entry):
                    self._load()
                    return

    def has(self, txn: Txn) -> bool:
        """Whether the table has reached a transaction's number, and that durably.

        Raises:
            DeltaError: The table can't be read.
            OSError: Likewise.
        """
        with self._lock:
            self.follow()
            return self._has(txn)

    def commit(self, actions: Iterable[Action], txns: Sequence[Txn], holding: Sequence[Txn] = ()) -> int | None:
        """Make actions that add files and change nothing else the table's next version, durably and at most once.

        Args:
            actions: The entry's content, but the transactions; no other commit's has the same.
            txns: Transaction numbers to record; none of them may be reached yet.
            holding: Numbers that must be the last ones of their applications, 0 for none.

        Returns:
            The version; None when the table has one of the transactions already, or doesn't hold what it must.

        Raises:
            StorageError: It failed; nothing was added, unless the message says that this isn't known.
            DeltaError: The table can't be read; nothing was added.
            OSError: It can't be written; nothing was added.
        """
        lines = [*actions, *({"txn": {"appId": t.app_id, "version": t.version}} for t in txns)]
        content = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
        log = self._folder / "_delta_log"
        with prepared(log / "entry.json", content) as entry, self._lock:
            if not self._link(entry, content, txns, holding):
                return None
            try:
                # Nothing is removed from a log before what is older than it: with the one before it, it is in place.
                is_next = _is_there(self._folder, self._version, self._last)
                entry.unlink()
                sync_path(log)
            except OSError as error:
                self._base = None
                raise self._in_doubt(str(error)) from error
            if not is_next:
                self._base = None
                if txns and self.has(txns[0]):
                    return self._version
                raise self._in_doubt("older entries of its log were removed at this moment")
            self._take(content)
            version = self._version
            if (version + 1) % CHECKPOINT_INTERVAL == 0:
                self._checkpoint()
            return version

    def _link(self, entry: Path, content: bytes, txns: Sequence[Txn], holding: Sequence[Txn]) -> bool:
        """Give an entry the next free name; False when a transaction is there already, or one isn't held any more."""
        for tries in range(MAX_TRIES):
            self.follow()
            if any(self._has(t) for t in txns) or any((self._recorded(t.app_id) or 0) != t.version for t in holding):
                return False
            try:
                os.link(entry, entry_path(self._folder, self._version + 1))
                return True
            except FileExistsError:
                # A network's file system may link, lose the answer, ask again and be told that the name is taken.
                if _is_there(self._folder, self._version + 1, content):
                    return True
                time.sleep(random.uniform(0, min(0.001 * tries, 0.05)))
        raise StorageError(
            f"Table `{self._folder.name}` in `{self._folder}` was written by others {MAX_TRIES} times while this "
            "commit was tried, so nothing was added; try again later."
        )

    def _has(self, txn: Txn) -> bool:
        if not has_reached(self._recorded(txn.app_id), txn):
            return False
        # Whoever committed it may have died before it synced.
        sync_path(self._folder / "_delta_log")
        return True

    def _load(self) -> None:
        # Stays forgotten if this fails.
        self._base = None
        table = open_table(self._folder)
        self._check(table)
        self._version = table.version()
        # Of a version whose entry is gone there is nothing to know it by: it is loaded each time, until the next one.
        self._last = _read(self._folder, self._version) or b""
        self._txns = {}
        self._base = table

    def _take(self, entry: bytes) -> bool:
        """Take up the next entry; False when it takes more than following."""
        try:
            actions = actions_of(entry)
        except ValueError:
            # delta-rs says what it makes of it.
            return False
        if any("metaData" in a or "protocol" in a for a in actions):
            return False
        self._txns |= {a["txn"]["appId"]: a["txn"]["version"] for a in actions if "txn" in a}
        self._version += 1
        self._last = entry
        return True

    def _recorded(self, app_id: str) -> int | None:
        if app_id not in self._txns:
            try:
                found = self._handle().transaction_version(app_id)
            except DeltaError:
                # So old that the log has been cleaned up behind it.
                self._load()
                found = self._handle().transaction_version(app_id)
            self._txns.setdefault(app_id, found)
        return self._txns[app_id]

    def _handle(self) -> DeltaTable:
        assert self._base is not None
        return self._base

    def _checkpoint(self) -> None:
        try:
            self._load()
            write_checkpoint(self._folder, self._base)
            if (self._version + 1) % (CLEANUPS * CHECKPOINT_INTERVAL) == 0:
                self._handle().cleanup_metadata()
        except (DeltaError, OSError, StorageError) as error:
            # The commit is done, and the next checkpoint holds what this one would have.
            LOGGER.warning("No checkpoint of table `%s` could be written: %s", self._folder.name, error)
            self._base = None

    def _in_doubt(self, why: str) -> StorageError:
        return StorageError(
            f"Table `{self._folder.name}` in `{self._folder}` couldn't be written: {why} (whether the rows were added "
            "can't be told until it can be read again)"
        )


def has_reached(recorded: int | None, txn: Txn) -> bool:
    """Whether a table that recorded this number for the transaction's application has the transaction already."""
    return recorded is not None and recorded >= txn.version


def write_checkpoint(place: Path | Storage, table: DeltaTable | None = None) -> None:
    """Write a checkpoint durably, and the file that names it.

    With the one empty after a power cut and the other not, the table couldn't be read.

    Args:
        place: The table's folder.
        table: The table at the version of the checkpoint; None for its newest.

    Raises:
        DeltaError: The table can't be read.
        OSError: The checkpoint can't be written.
    """
    storage = storage_of(place)
    table = table or open_table(storage)
    table.create_checkpoint()
    log = storage.child("_delta_log")
    # delta-rs leaves it alone where it finds the checkpoint already there.
    named = [LAST_CHECKPOINT] if log.exists(LAST_CHECKPOINT) else []
    log.sync(checkpoint_name(table.version()), *named)


def _is_there(folder: Path, version: int, content: bytes) -> bool:
    return bool(content) and _read(folder, version) == content


def _read(folder: Path, version: int) -> bytes | None:
    try:
        return entry_path(folder, version).read_bytes()
    except FileNotFoundError:
        return None
