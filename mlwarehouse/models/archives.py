"""Checks of archives before a library of others opens them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from mlwarehouse.artifacts import clean_path
from mlwarehouse.errors import InvalidInputError, ModelError

MOST_GROWTH = 20
"""How many times its size an archive may unpack to. Weights hardly shrink; a bomb grows a thousandfold and more."""

SMALL = 64 * 2**20
"""What unpacks to no more bytes than this is no danger, whatever its size was."""


def check_archive(file: Path) -> list[zipfile.ZipInfo]:
    """Check that a zip archive unpacks to about its own size, into names that stay where they are put.

    Returns:
        Its entries.

    Raises:
        ModelError: It isn't an archive, it would fill the memory or disk, it names a file outside, or it holds two
            files of one name, of which a check and a reader might see different ones.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(f"`{file}` isn't a zip archive: {error}.") from error
    size = sum(entry.file_size for entry in entries)
    if size > SMALL and size > MOST_GROWTH * file.stat().st_size:
        raise ModelError(
            f"`{file}` has {file.stat().st_size} bytes and would unpack to {size}, which no model does; it isn't read."
        )
    names = [entry.filename for entry in entries]
    for name in names:
        try:
            clean_path(name.rstrip("/"))
        except InvalidInputError as error:
            raise ModelError(f"`{file}` holds a file that no model has: {error}") from error
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ModelError(f"`{file}` holds two files `{twice}`; it isn't read.")
    return entries
