"""Files beneath a folder, reached without following a link on the way: also when somebody swaps one in meanwhile."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from mlwarehouse.errors import InvalidInputError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_LINKS = (errno.ELOOP, errno.ENOTDIR)


def write_beneath(root: Path, path: str, write: Callable[[BinaryIO], None]) -> None:
    """Write a whole file, synced, and replace what has its name: a link itself, never what it points to.

    Args:
        root: The folder; it must be there.
        path: The file's checked relative path; folders on it are made.
        write: Writes the content; the file appears when this returns.

    Raises:
        InvalidInputError: A folder on the path is a link or a file.
        OSError: Writing failed; nothing appeared.
    """
    *folders, name = path.split("/")
    fd = _descend(root, folders, path, make=True)
    partial = f".partial.{uuid.uuid4().hex}"
    try:
        try:
            out = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=fd)
            with os.fdopen(out, "wb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(partial, name, src_dir_fd=fd, dst_dir_fd=fd)
            os.fsync(fd)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(partial, dir_fd=fd)
    finally:
        os.close(fd)


def open_beneath(root: Path, path: str) -> BinaryIO:
    """Open a file for reading.

    Args:
        root: The folder.
        path: The file's checked relative path.

    Raises:
        FileNotFoundError: There is no such file, or something other than a file.
        InvalidInputError: It, or a folder on the path, is a link.
        OSError: It can't be opened.
    """
    *folders, name = path.split("/")
    fd = _descend(root, folders, path, make=False)
    try:
        found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fd)
    except OSError as error:
        raise _refused(root, path, error) from error
    finally:
        os.close(fd)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise FileNotFoundError(errno.ENOENT, "not a file", path)
    return os.fdopen(found, "rb")


def _descend(root: Path, folders: list[str], path: str, *, make: bool) -> int:
    # The folder itself may be reached by links: it is the caller's choice.
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for folder in folders:
        try:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(folder, dir_fd=fd)
            inner = os.open(folder, _FOLDER, dir_fd=fd)
        except OSError as error:
            raise _refused(root, path, error) from error
        finally:
            os.close(fd)
        fd = inner
    return fd


def _refused(root: Path, path: str, error: OSError) -> Exception:
    if error.errno in _LINKS:
        return InvalidInputError(
            f"`{path}` in `{root}` isn't touched: a link, or a file, is where it has a folder or itself; remove that, "
            "or choose another folder."
        )
    return error
