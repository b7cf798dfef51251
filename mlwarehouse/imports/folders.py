"""Looking through folders of strangers: quickly, never by links, never more of a file than is wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlwarehouse.imports.base import Oddity


def entries(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; nothing where there is no such folder or it can't be read."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda e: e.name)
    except OSError:
        return []


def subfolders(folder: str) -> list[os.DirEntry[str]]:
    """The folders in a folder, by name; links to folders too."""
    return [e for e in entries(folder) if e.is_dir()]


def files_below(folder: str, oddities: list[Oddity], prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The files below a folder with their paths in it, folder by folder; links are told and left out.

    Args:
        folder: The folder.
        oddities: Gets what is left out.
        prefix: What the paths begin with.
    """
    try:
        with os.scandir(folder) as found:
            here = sorted(found, key=lambda e: e.name)
    except FileNotFoundError:
        return
    except OSError as error:
        oddities.append(Oddity("folder unreadable", folder, str(error)))
        return
    for entry in here:
        if entry.is_file(follow_symlinks=False):
            yield prefix + entry.name, entry
        elif entry.is_dir(follow_symlinks=False):
            yield from files_below(entry.path, oddities, f"{prefix}{entry.name}/")
        else:
            oddities.append(Oddity("not a file", entry.path, "links and special files are left out"))


def add_files(
    columns: Mapping[str, list[Any]],
    folder: str,
    run_id: str,
    oddities: list[Oddity],
    prefix: str = "",
    is_wanted: Callable[[str], bool] = lambda _: True,
) -> None:
    """Add the files below a folder to columns as in `FILE_COLUMNS`.

    Args:
        columns: The columns.
        folder: The folder; it may be missing.
        run_id: The run that has them.
        oddities: Gets what can't be read.
        prefix: What their paths begin with.
        is_wanted: Whether a file comes, by its path.
    """
    for path, entry in files_below(folder, oddities, prefix):
        if not is_wanted(path):
            continue
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError as error:
            oddities.append(Oddity("file unreadable", entry.path, str(error)))
            continue
        values = (run_id, path, entry.path, found.st_size, found.st_mtime_ns // 1000)
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)


def read(path: str, most: int) -> bytes:
    """The bytes of a file.

    Args:
        path: The file.
        most: How many are read; one more is returned where there are more.

    Raises:
        OSError: It can't be read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        content = os.read(handle, min(most + 1, 65536))
        if len(content) < 65536:
            return content
        parts, n = [content], len(content)
        while n <= most and (content := os.read(handle, min(most + 1 - n, 1 << 20))):
            parts.append(content)
            n += len(content)
        return b"".join(parts)
    finally:
        os.close(handle)


def text(content: bytes, path: str, oddities: list[Oddity]) -> str:
    """A file's bytes as text; what isn't UTF-8 is taken for Latin-1, and told."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        oddities.append(Oddity("not UTF-8", path, "it was read as Latin-1"))
        return content.decode("latin-1")
