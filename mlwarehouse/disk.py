"""Forcing things to disk, the one way that spool, commits and artifacts do it."""

from __future__ import annotations

import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def make_folder(path: Path) -> None:
    """Make a folder and those above it, each forced to disk; fine when they are there."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_path(folder.parent)


def sync_path(path: Path) -> None:
    """Force a file's content, or a folder's entries, to disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def try_lock(fd: int) -> bool:
    """Take the exclusive lock on an open file unless somebody has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if _is_anothers(error):
            return False
        raise
    return True


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock of a file."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if _is_anothers(error):
            return True
        raise
    finally:
        os.close(fd)
    return False


def _is_anothers(error: OSError) -> bool:
    return error.errno in (errno.EWOULDBLOCK, errno.EACCES)


def create(path: Path, content: bytes) -> None:
    """Write a whole file and force it to disk, unless it is there; of several processes one wins."""
    with prepared(path, content) as temporary, suppress(FileExistsError):
        os.link(temporary, path)
    sync_path(path.parent)


def replace(path: Path, content: bytes) -> None:
    """Replace a whole file and force it to disk: a crash leaves the old content or the new one."""
    with prepared(path, content) as temporary:
        temporary.replace(path)
    sync_path(path.parent)


@contextmanager
def prepared(path: Path, content: bytes) -> Iterator[Path]:
    """A file that is on disk under a name of its own, to be linked to the one where it shall appear.

    Whoever looks there finds it whole, also after a power cut. At the end its own name is gone.

    Args:
        path: Beside which to write it, and what it is called after.
        content: What it holds.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
