"""Being the only one who maintains, repairs or purges a warehouse: a file's lock in a local folder, else a lease."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from mlwarehouse.disk import try_lock
from mlwarehouse.storage import LocalStorage, Storage, storage_of

LOCK = "_maintainer.lock"
"""The file in a local warehouse whose lock a maintainer holds; it was last touched when files were last removed."""


class Alone(Protocol):
    """What the only maintainer has.

    Attributes:
        cleaned_at: When files were last removed, seconds since the epoch; 0 means never.
    """

    @property
    def cleaned_at(self) -> float:
        """See the class."""
        ...

    def note_cleaned(self) -> None:
        """Note that files were removed now."""
        ...

    def now(self) -> float:
        """The present time, seconds since the epoch; to be asked before each step.

        Raises:
            ConflictError: Another one may maintain the warehouse by now.
        """
        ...


class _Locked:
    """The lock of a local warehouse's file; it can't be lost."""

    def __init__(self, fd: int, cleaned_at: float) -> None:
        self._fd = fd
        self.cleaned_at = cleaned_at

    def note_cleaned(self) -> None:
        """See `Alone.note_cleaned`."""
        os.utime(self._fd)

    def now(self) -> float:
        """See `Alone.now`."""
        return time.time()


@contextmanager
def alone(root: Path | Storage) -> Iterator[Alone | None]:
    """Be the only maintainer of a warehouse for as long as the context lasts; a lock or lease dies with its holder.

    Args:
        root: The warehouse's folder.

    Yields:
        None when another process maintains it.

    Raises:
        StorageError: The object store can't be reached.
    """
    storage = storage_of(root)
    if isinstance(storage, LocalStorage):
        with _locked(storage.folder("A lock") / LOCK) as held:
            yield held
        return
    from mlwarehouse.engines.embedded_lease import Lease

    lease = Lease(storage)
    if not lease.take():
        yield None
        return
    try:
        yield lease
    finally:
        lease.release()


@contextmanager
def _locked(path: Path) -> Iterator[Alone | None]:
    is_first = not path.exists()
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not try_lock(fd):
            yield None
            return
        yield _Locked(fd, 0.0 if is_first else os.fstat(fd).st_mtime)
    finally:
        os.close(fd)
