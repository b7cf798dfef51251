"""Where files are: in a local folder or in an object store, behind one small protocol.

Whoever keeps tables, artifacts or the warehouse's marker is given a `Storage` and asks no further. A new kind of
storage is one class and one entry in `SCHEMES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.storage.base import FileInfo, Storage
from mlwarehouse.storage.local import LocalStorage
from mlwarehouse.storage.many import each, read_many
from mlwarehouse.storage.objects import ObjectStorage, patiently

__all__ = [
    "SCHEMES",
    "FileInfo",
    "LocalStorage",
    "ObjectStorage",
    "Storage",
    "each",
    "open_storage",
    "patiently",
    "read_many",
    "scheme_of",
    "storage_of",
]

SCHEMES: Mapping[str, Callable[[str], Storage]] = {"file": LocalStorage.at, "s3": ObjectStorage.at}
"""What opens an address, by its scheme; an address without one is a local path."""


def scheme_of(uri: str | Path) -> str:
    """The scheme of an address; ``file`` where it has none."""
    before, separator, _ = str(uri).partition("://")
    return before.lower() if separator else "file"


def open_storage(uri: str | Path) -> Storage:
    """The storage at an address; nothing is touched yet.

    Args:
        uri: A path, ``file://`` and a path, or ``s3://bucket/prefix``. How to reach an object store, and as whom, is
            told by the environment's ``AWS_*`` variables, such as ``AWS_ENDPOINT_URL``.

    Raises:
        InvalidInputError: An address of another kind, or one that can't be meant.
    """
    scheme = scheme_of(uri)
    if scheme not in SCHEMES:
        raise InvalidInputError(
            f"The address `{uri}` can't be opened: it begins with `{scheme}://`, and files are kept in local folders "
            f"(a path, or file://) and object stores (s3://bucket/prefix).{did_you_mean(scheme, SCHEMES)}"
        )
    return SCHEMES[scheme](str(uri))


def storage_of(place: Path | Storage) -> Storage:
    """A place as a storage: a path is a local folder."""
    return LocalStorage(place) if isinstance(place, Path) else place
