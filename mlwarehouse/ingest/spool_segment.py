"""One segment while it is written: in its file, or in memory while the place of its file refuses."""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from pathlib import Path

from mlwarehouse.disk import is_locked, try_lock
from mlwarehouse.ingest.spool_format import HEADER_SLOTS, SLOT, SegmentHeader

NEW_SUFFIX = ".new"
"""Of a segment that no reader looks at yet: until it is locked and has its header."""

LEFT_AFTER_S = 60.0
"""A file of that suffix that nobody has locked at this age was left by a process that died."""


class Segment:
    """A segment that takes slots.

    Attributes:
        path: Its file's path; in memory, where the file shall be.
        memory: The slots, mapped from the file or not.
        n_slots: How many fit.
        seed: Where the CRC of slot 0 starts.
        fd: The file, locked; -1 in memory.
        left_at: Index of the first slot that it shall not have, once its writer has gone on to another.
    """

    def __init__(self, path: Path, memory: mmap.mmap, size: int, seed: int, fd: int) -> None:
        """Made by `in_file` and `in_memory`."""
        self.path = path
        self.memory = memory
        self.n_slots = size // SLOT
        self.seed = seed
        self.fd = fd
        self.left_at = 0

    @classmethod
    def in_file(cls, folder: Path, header: SegmentHeader, size: int) -> Segment:
        """Begin a segment in its file.

        Args:
            folder: The spool's folder of segments.
            header: Its header.
            size: Its bytes.

        Raises:
            OSError: The place refuses; nothing is left there.
        """
        path = segment_path(folder, header)
        temporary = path.with_suffix(NEW_SUFFIX)
        fd = -1
        try:
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            try_lock(fd)
            # Allocated before use: a mapped store to a full disk would signal the process.
            os.posix_fallocate(fd, 0, size)
            memory = mmap.mmap(fd, size)
            memory[: HEADER_SLOTS * SLOT] = header.pack()
            temporary.rename(path)
        except OSError:
            _remove(temporary, fd)
            raise
        return cls(path, memory, size, header.seed, fd)

    @classmethod
    def in_memory(cls, folder: Path, header: SegmentHeader, size: int) -> Segment:
        """Begin a segment in memory of this process alone; see `in_file`.

        Raises:
            OSError: There isn't that much memory.
        """
        # Private: a forked child must not share what its parent goes on writing.
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory[: HEADER_SLOTS * SLOT] = header.pack()
        return cls(segment_path(folder, header), memory, size, header.seed, -1)

    def is_in_place(self) -> bool:
        """Whether the file that is written is the one that stands at its path."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self.fd))
        except OSError:
            return False

    def finish(self, end: int) -> None:
        """Force the slots before ``end`` to disk, cut the rest, and let go: readers know that it is complete.

        Raises:
            OSError: The disk refuses; the segment is as it was.
        """
        os.fdatasync(self.fd)
        with contextlib.suppress(OSError):
            os.ftruncate(self.fd, end * SLOT)
        self.let_go()

    def let_go(self) -> None:
        """Close the file and the mapping."""
        self.memory.close()
        if self.fd >= 0:
            # Closing lets go of the lock.
            os.close(self.fd)
            self.fd = -1

    def copy(self, end: int) -> bytes:
        """The bytes of the slots before ``end``; fewer where the disk is gone and the kernel dropped its pages."""
        copy = os.memfd_create("mlwarehouse")
        try:
            view = memoryview(self.memory)[: end * SLOT]
            n = 0
            with contextlib.suppress(OSError), view:
                # By the kernel: it answers with an error where reading the mapping would signal the process.
                while n < len(view):
                    n += os.write(copy, view[n:])
            return os.pread(copy, n, 0)
        finally:
            os.close(copy)


def segment_path(folder: Path, header: SegmentHeader) -> Path:
    """Where a segment's file stands."""
    return folder / f"{header.writer_id}-{header.first_seq:016x}.seg"


def place(path: Path, content: bytes | memoryview) -> int:
    """Write a whole segment, in place of a file of its name if there is one; not synced.

    Returns:
        The file, locked: no reader removes it before it is closed.

    Raises:
        OSError: The place refuses; a file that was there is as it was.
    """
    temporary = path.with_suffix(NEW_SUFFIX)
    fd = -1
    try:
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        try_lock(fd)
        os.posix_fallocate(fd, 0, len(content))
        written = 0
        while written < len(content):
            written += os.write(fd, content[written:])
        temporary.rename(path)
    except OSError:
        _remove(temporary, fd)
        raise
    return fd


def remove_leftovers(folder: Path) -> None:
    """Remove the beginnings of segments whose writers died before anything was in them."""
    for path in folder.glob(f"*{NEW_SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > LEFT_AFTER_S and not is_locked(path):
                path.unlink()


def mount_point(path: Path) -> Path:
    """The folder at or above a path at which a file system is mounted."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.is_mount() or p == p.parent)


def _remove(temporary: Path, fd: int) -> None:
    if fd >= 0:
        os.close(fd)
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
