"""A lease on an object store's warehouse, where there are no file locks: one maintainer at a time, on any machine.

The lease is the log of a small Delta table, ``_maintainer``, that never has rows. Who commits its next version has it:
the store puts a log entry only where none is, so of several exactly one gets it. The holder commits again every few
seconds; its last version says that it is let go.

No clocks are compared: who finds the lease held takes it over only after having seen, for `LEASE_S` by its own clock,
no new version. A holder that couldn't renew it for half that time stops by itself. Should one be frozen for longer in
the middle of a step, then the step's commit fails like that of any other who was overtaken: the lease saves work and
keeps order, and no row depends on it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import DeltaError, TableNotFoundError

from mlwarehouse._version import __version__
from mlwarehouse.engines.embedded_commit import reason
from mlwarehouse.engines.embedded_follow import open_table
from mlwarehouse.engines.embedded_log import actions_of, entry_name
from mlwarehouse.errors import ConflictError, StorageError
from mlwarehouse.storage import Storage

FOLDER = "_maintainer"

LEASE_S = 60.0
"""Who has seen no sign of the holder for this long takes the lease over."""

RENEW_S = 10.0
"""How often the holder gives a sign."""

CONFIGURATION: dict[str, str | None] = {
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 1 days",
}

APP = "maintainer"
"""The application id of the commits: delta-rs refuses one whose snapshot lacks another's of the same id."""


@dataclass(frozen=True)
class Holding:
    """What the newest version of the lease says.

    Attributes:
        version: The version.
        holder: Who has it; empty when nobody does.
        who: The holder's machine and process, for people.
        cleaned_at: When files were last removed, seconds since the epoch; 0 means never.
    """

    version: int
    holder: str
    who: str
    cleaned_at: float


_SEEN: dict[str, tuple[int, float]] = {}
"""By lease: the version that this process saw last, and since when."""


class Lease:
    """The lease of one warehouse; take it, ask `now` before each step, let it go."""

    def __init__(self, root: Storage) -> None:
        """Name it; nothing is asked yet.

        Args:
            root: The warehouse's folder.
        """
        self._root = root
        self._place = root.child(FOLDER)
        self._id = uuid.uuid4().hex
        self._cleaned_at = 0.0
        self._ahead_s = 0.0
        self._good_until = 0.0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def look(self) -> Holding:
        """Who has it.

        Raises:
            StorageError: The store can't be reached.
        """
        try:
            return self._said_at(open_table(self._place).version())
        except TableNotFoundError:
            return Holding(-1, "", "", 0.0)
        except (DeltaError, OSError, ValueError) as error:
            raise StorageError(
                f"The maintainer's lease in `{self._place.uri}` can't be read: {reason(error)}"
            ) from error

    def take(self) -> bool:
        """Take it if it is free, or its holder has given no sign for `LEASE_S`.

        Returns:
            Whether it was taken; False when another one has it.

        Raises:
            StorageError: The store can't be reached.
        """
        found = self.look()
        if found.holder:
            seen = _SEEN.get(self._place.uri)
            if seen is None or seen[0] != found.version:
                _SEEN[self._place.uri] = (found.version, clock())
                return False
            if clock() - seen[1] < LEASE_S:
                return False
        started = clock()
        try:
            if found.version < 0:
                self._make()
                # Of several who make it at once, another may have written behind the first.
                found = self.look()
                if found.holder:
                    return False
            self._cleaned_at = found.cleaned_at
            if not self._commit(self._id, found.version):
                return False
            written = self._place.child("_delta_log").info(entry_name(max(found.version, 0) + 1))
        except (DeltaError, OSError) as error:
            raise StorageError(
                f"The maintainer's lease in `{self._place.uri}` can't be taken: {reason(error)}"
            ) from error
        # A clock that is ahead of the store's would make files look older than they are.
        self._ahead_s = max(0.0, time.time() - written.modified_at) if written is not None else 0.0
        self._good_until = started + LEASE_S / 2
        self._thread = threading.Thread(target=self._renew, name="mlwarehouse-lease", daemon=True)
        self._thread.start()
        return True

    @property
    def cleaned_at(self) -> float:
        """When files were last removed, seconds since the epoch; 0 means never."""
        return self._cleaned_at

    def note_cleaned(self) -> None:
        """Note that files were removed now; it is written when the lease is let go."""
        self._cleaned_at = time.time() - self._ahead_s

    def now(self) -> float:
        """The present time in seconds since the epoch, by the clock of this machine or of the store that is behind.

        Raises:
            ConflictError: The lease is lost: it couldn't be renewed for long, and another one may have it.
        """
        if clock() > self._good_until:
            raise ConflictError(
                f"The maintainer's lease of `{self._root.uri}` couldn't be renewed for {LEASE_S / 2:g} s, so another "
                "process may maintain it by now; nothing more was done. Try again."
            )
        return time.time() - self._ahead_s

    def release(self) -> None:
        """Let it go; where the store is away it ends by itself."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if clock() <= self._good_until:
            with suppress(DeltaError, OSError, StorageError):
                self._commit("")
            self._good_until = 0.0

    def _make(self) -> None:
        with suppress(DeltaError):
            DeltaTable.create(
                self._place.uri,
                schema=pa.schema([("holder", pa.string())]),
                mode="ignore",
                description="Who maintains the warehouse; the log says it, and there are no rows.",
                configuration=CONFIGURATION,
                storage_options=dict(self._place.delta_options or {}),
            )

    def _said_at(self, version: int) -> Holding:
        actions = actions_of(self._place.child("_delta_log").read(entry_name(version)))
        info: Any = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
        return Holding(version, info.get("holder", ""), info.get("who", ""), float(info.get("cleanedAt", 0)))

    def _commit(self, holder: str, behind: int | None = None) -> bool:
        """Commit the next version, if it is ours to commit.

        Args:
            holder: Who is to have the lease; empty lets it go.
            behind: The version that must be the newest; None means one by which this holder has the lease.

        Returns:
            Whether the version is ours.
        """
        with self._lock:
            table = open_table(self._place)
            before = table.version()
            is_next = before == max(behind, 0) if behind is not None else self._said_at(before).holder == self._id
            if not is_next:
                return False
            metadata = {
                "mlwarehouse": __version__,
                "holder": holder,
                "who": f"{socket.gethostname()}:{os.getpid()}",
                "cleanedAt": repr(self._cleaned_at),
            }
            properties = CommitProperties(
                app_transactions=[Transaction(APP, before + 1)], max_commit_retries=0, custom_metadata=metadata
            )
            try:
                table.create_write_transaction([], mode="append", schema=table.schema(), commit_properties=properties)
            except DeltaError:
                # An answer may get lost: the log says whose the version is.
                newest = self.look()
                return newest.version == before + 1 and newest.holder == holder == self._id
            return True

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_S):
            started = clock()
            try:
                if not self._commit(self._id):
                    self._good_until = 0.0
                    return
            except (DeltaError, OSError, StorageError):
                # Away: it is tried again, and `now` stops the holder when that lasts.
                continue
            self._good_until = started + LEASE_S / 2


def clock() -> float:
    """A clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
