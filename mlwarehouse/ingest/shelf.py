"""Storing a run's files, and what waits because the artifact store refuses: full, read-only, failing or away.

Training goes on meanwhile. A file waits where it is, text and the files of a model wait in memory, and storing them is
tried again every few seconds and when the run ends. What isn't stored by then, or was changed while it waited, is
counted, for `doctor`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlwarehouse.artifacts import ArtifactStore, Stored
from mlwarehouse.errors import StoreRefusedError, WarehouseError
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_outage import tell

RETRY_S = 5.0
"""Seconds between two tries while the store refuses."""

TURN_S = 10.0
"""A turn of tries lasts about as long at most: an object store that is away makes each of them wait."""

MEMORY_BYTES = 64 << 20
"""What waits in memory is at most this much."""

MOST_FILES = 10_000
"""At most this many files wait."""

TABLE = "artifact_events"
"""The table that gets a row for each stored file."""

Content = Path | bytes


class Owner(Protocol):
    """Whose files are stored: a run that is being logged to."""

    @property
    def run_id(self) -> str:
        """Its id."""
        ...

    def put_artifacts(self, kind: str, stored: Mapping[str, Stored]) -> None:
        """Record files that are in the store, by path."""
        ...


@dataclass(frozen=True)
class Waiting:
    """A file that the store refused.

    Attributes:
        owner: Whose it is.
        kind: What it is recorded as.
        name: Its path within the run's artifacts.
        content: Where it is, or what is in it.
        stamp: What the file looked like when it was logged: later content isn't what was meant.
    """

    owner: Owner
    kind: str
    name: str
    content: Content
    stamp: tuple[int, ...]


class Shelf:
    """Stores the files of one process's runs. Threads may share it; a forked child begins with nothing on it."""

    def __init__(self, store: ArtifactStore, folder: SpoolFolder) -> None:
        """Store nothing yet.

        Args:
            store: Where files go.
            folder: Where to write down what couldn't be kept.
        """
        self._store = store
        self._folder = folder
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._waiting: list[Waiting] = []
        self._uncounted: list[tuple[int, str]] = []
        self._is_told = False
        self._next_try = 0.0

    def keep(self, owner: Owner, kind: str, files: Mapping[str, Content], *, are_temporary: bool = False) -> bool:
        """Store files and record them; those that the store refuses wait.

        Args:
            owner: Whose they are.
            kind: What they are recorded as.
            files: Files, or their content, by path within the run's artifacts.
            are_temporary: Whether the files go when this returns, so that their content has to wait in memory.

        Returns:
            Whether all of them are stored; False where some wait or were lost.

        Raises:
            NotFoundError: There is no such file; nothing was recorded.
            InvalidInputError: It isn't a regular file; nothing was recorded.
            StorageError: A file can't be read; nothing was recorded.
        """
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            # What comes later under a name that waits must be recorded later, too.
            behind = {w.name for w in self._waiting if w.owner is owner}
        if self._is_told and time.monotonic() < self._next_try:
            # Asked a moment ago: a training isn't kept waiting for the same answer.
            behind |= files.keys()
        try:
            stored = None if behind & files.keys() else self._put_all(files)
        except StoreRefusedError as error:
            self._tell_of_refusal(error)
            stored = None
        if stored is None:
            stored = self._put_each(owner, kind, files, behind, are_temporary=are_temporary)
        if stored:
            owner.put_artifacts(kind, stored)
        return len(stored) == len(files)

    def retry(self) -> None:
        """Try to store what waits, if it is time for that."""
        if (self._waiting or self._uncounted) and self._pid == os.getpid() and time.monotonic() >= self._next_try:
            with self._lock:
                self._retry(self._waiting)

    def finish(self, owner: Owner) -> None:
        """Try a last time to store what waits of a run that ends; what the store still refuses is counted as lost."""
        if self._pid != os.getpid() or not (self._waiting or self._uncounted):
            return
        with self._lock:
            self._retry([w for w in self._waiting if w.owner is owner])
            left = [w for w in self._waiting if w.owner is owner]
            self._waiting = [w for w in self._waiting if w.owner is not owner]
            self._lose(owner, [w.name for w in left], "the artifact store refused them until the run ended")

    def _put_all(self, files: Mapping[str, Content]) -> dict[str, Stored]:
        paths = {name: content for name, content in files.items() if isinstance(content, Path)}
        texts = {name: self._store.put_bytes(c) for name, c in files.items() if not isinstance(c, Path)}
        return {**self._store.put_files(paths), **texts}

    def _put_each(
        self, owner: Owner, kind: str, files: Mapping[str, Content], behind: set[str], *, are_temporary: bool
    ) -> dict[str, Stored]:
        """Store what can be; the rest waits, or is counted where it doesn't fit."""
        stored: dict[str, Stored] = {}
        refused: list[Waiting] = []
        for name, content in files.items():
            # Read what was meant before anything is tried: a file may change at any time.
            stamp = _stamp(content)
            try:
                if name not in behind:
                    stored[name] = self._put(content)
                    continue
                if isinstance(content, Path):
                    self._store.check_file(content)
            except StoreRefusedError as error:
                self._tell_of_refusal(error)
            refused.append(Waiting(owner, kind, name, content, stamp))
        lost = []
        with self._lock:
            for waiting in refused:
                kept = self._fitting(waiting, are_temporary=are_temporary)
                if kept is None:
                    lost.append(waiting.name)
                else:
                    self._waiting.append(kept)
            self._lose(owner, lost, "the artifact store refused them, and they were too much to wait in memory")
        return stored

    def _fitting(self, waiting: Waiting, *, are_temporary: bool) -> Waiting | None:
        """What may wait, in the form in which it does; None where it is too much."""
        if len(self._waiting) >= MOST_FILES:
            return None
        content = waiting.content
        if isinstance(content, Path) and not are_temporary:
            return Waiting(waiting.owner, waiting.kind, waiting.name, content.absolute(), waiting.stamp)
        in_memory = sum(len(w.content) for w in self._waiting if isinstance(w.content, bytes))
        size = waiting.stamp[0] if isinstance(content, Path) else len(content)
        if in_memory + size > MEMORY_BYTES:
            return None
        data = content.read_bytes() if isinstance(content, Path) else content
        return Waiting(waiting.owner, waiting.kind, waiting.name, data, ())

    def _put(self, content: Content) -> Stored:
        return self._store.put_file(content) if isinstance(content, Path) else self._store.put_bytes(content)

    def _retry(self, chosen: list[Waiting]) -> None:
        until = time.monotonic() + TURN_S
        done: list[Waiting] = []
        refused: set[tuple[str, str]] = set()
        for waiting in chosen:
            # Of several under one name the last one counts: in order, or not at all.
            key = waiting.owner.run_id, waiting.name
            if key in refused or (refused and time.monotonic() > until):
                continue
            try:
                if _stamp(waiting.content) != waiting.stamp:
                    raise _ChangedError
                stored = self._put(waiting.content)
            except StoreRefusedError:
                refused.add(key)
                continue
            except (_ChangedError, WarehouseError):
                self._lose(waiting.owner, [waiting.name], "the file was changed or removed before it could be stored")
            else:
                waiting.owner.put_artifacts(waiting.kind, {waiting.name: stored})
            done.append(waiting)
        self._waiting = [w for w in self._waiting if not any(w is d for d in done)]
        self._next_try = time.monotonic() + RETRY_S
        self._count()
        if self._is_told and not self._waiting:
            self._is_told = False
            tell(f"mlwarehouse stores artifacts in `{self._store.blobs.uri}` again, and what waited is there.")

    def _tell_of_refusal(self, error: StoreRefusedError) -> None:
        self._next_try = time.monotonic() + RETRY_S
        if not self._is_told:
            self._is_told = True
            tell(
                f"mlwarehouse can't store artifacts: {error}. Training goes on: files wait where they are, text and "
                f"models in memory, up to {MEMORY_BYTES >> 20} MiB, and storing them is tried again every "
                f"{RETRY_S:.0f} seconds until the run ends. What isn't stored by then is counted as lost."
            )

    def _lose(self, owner: Owner, names: list[str], why: str) -> None:
        if not names:
            return
        some = ", ".join(f"`{name}`" for name in names[:5]) + (" ..." if len(names) > 5 else "")
        self._uncounted.append((len(names), f"artifacts {some} of run `{owner.run_id}`: {why}"))
        tell(f"mlwarehouse lost {len(names)} artifacts of run `{owner.run_id}` ({some}): {why}.")
        self._count()

    def _count(self) -> None:
        """Write down what was lost; what can't be written stays for the next time."""
        while self._uncounted:
            try:
                self._folder.note_loss(TABLE, *self._uncounted[0])
            except OSError:
                return
            self._uncounted.pop(0)


class _ChangedError(Exception):
    """A file isn't what was logged any more."""


def _stamp(content: Content) -> tuple[int, ...]:
    """What tells a file's content from another one at the same place; empty for content itself, and for no file."""
    if not isinstance(content, Path):
        return ()
    try:
        found = content.stat()
    except OSError:
        return ()
    return found.st_size, found.st_mtime_ns, found.st_ino
