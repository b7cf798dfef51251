"""Data files of tables in an object store, kept on this machine's disk while they are being asked.

A data file never changes once written, so a copy of it is as good as the file: a question fetches the files that it
hasn't met, in parallel, and DuckDB reads local files as ever.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mlwarehouse.config import cache_dir
from mlwarehouse.disk import sync_path
from mlwarehouse.storage import LocalStorage, Storage

CACHE_BYTES = 20 << 30
"""What all cached files together may take; behind it, those that were asked longest ago are removed."""

IN_USE_S = 3600.0
"""A file that was asked within this time stays: a question may be reading it."""

LOOK_EVERY_S = 60.0
"""How often a process that fetches files looks at what there is."""

DOWNLOADS = 16
"""Files fetched at once: most of the time is spent waiting for the store."""

CHUNK_BYTES = 1 << 20


PURGED = "_purged"
"""The object beside the tables that names the last purge; and the file that says which one a machine has heeded."""


class FileCache:
    """Local copies of the files under one storage. Processes and threads may share it."""

    def __init__(self, storage: Storage, root: Path | None = None) -> None:
        """Keep copies of the files under ``storage``.

        Args:
            storage: Where the files are.
            root: The folder of all such copies on this machine; None means one in the user's cache folder.
        """
        self._storage = storage
        self._root = root or cache_dir() / "objects"
        self._looked_at = 0.0
        self._has_heeded = False
        self._folder = self._root / place_of(storage)

    def fetch(self, folder: str, names: Sequence[str]) -> list[str]:
        """Have files here.

        Args:
            folder: Their folder within the storage.
            names: Their names in it.

        Returns:
            Paths of local copies, in the same order.

        Raises:
            OSError: A file can't be fetched or kept.
        """
        self.heed_purges(once=True)
        here = self._folder / folder
        paths = [here / name for name in names]
        now = time.time()
        missing = []
        for name, path in zip(names, paths, strict=True):
            try:
                os.utime(path, (now, now))
            except FileNotFoundError:
                missing.append(name)
        if missing:
            there = self._storage.child(folder)
            for parent in {(here / name).parent for name in missing}:
                parent.mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor(min(DOWNLOADS, len(missing))) as pool:
                list(pool.map(lambda name: _copy(there, name, here / name), missing))
            if time.monotonic() - self._looked_at > LOOK_EVERY_S:
                self._looked_at = time.monotonic()
                self.make_room()
        return [str(path) for path in paths]

    def forget(self) -> None:
        """Remove all copies of files under the storage, and the folds that were made from them."""
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(folds_folder(self._storage), ignore_errors=True)

    def note_purge(self) -> None:
        """Have every machine forget its copies: they may hold what was purged."""
        self._storage.write(PURGED, uuid.uuid4().hex.encode())
        self.heed_purges()

    def heed_purges(self, *, once: bool = False) -> None:
        """Forget the copies if there was a purge since they were made; the first `fetch` of a process does so.

        Args:
            once: Only if this process hasn't looked yet.

        Raises:
            OSError: The storage can't be reached.
        """
        if once and self._has_heeded:
            return
        try:
            last = self._storage.read(PURGED)
        except FileNotFoundError:
            last = b""
        self._has_heeded = True
        mine = self._folder / PURGED
        with contextlib.suppress(FileNotFoundError):
            if mine.read_bytes() == last:
                return
        if last:
            self.forget()
            self._folder.mkdir(parents=True, exist_ok=True)
            LocalStorage(self._folder).write(PURGED, last)

    def make_room(self) -> None:
        """Remove what was asked longest ago, while there is too much; `fetch` does so now and then."""
        found = []
        for path in self._root.rglob("*.parquet*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        unused = time.time() - IN_USE_S
        for asked_at, size, path in sorted(found):
            if total <= CACHE_BYTES or asked_at > unused:
                return
            path.unlink(missing_ok=True)
            total -= size


def place_of(storage: Storage) -> str:
    """A folder's name for what this machine keeps of a storage."""
    return hashlib.sha256(storage.uri.encode()).hexdigest()[:32]


def folds_folder(storage: Storage) -> Path:
    """Where this machine keeps folds over the tables in an object store."""
    return cache_dir() / "derived" / place_of(storage)


def _copy(storage: Storage, name: str, path: Path) -> None:
    partial = path.with_name(f"{path.name}.partial.{uuid.uuid4().hex}")
    try:
        with storage.open_input(name) as source, partial.open("xb") as out:
            while chunk := source.read(CHUNK_BYTES):
                out.write(chunk)
            out.flush()
            # Or a power cut could leave an empty file under the name of a whole one.
            os.fsync(out.fileno())
        partial.replace(path)
        sync_path(path.parent)
    finally:
        partial.unlink(missing_ok=True)
