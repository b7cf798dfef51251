"""What keeps blobs: files under the SHA-256 of their bytes, wherever they are."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from mlwarehouse.errors import DigestMismatchError, InvalidInputError, NotFoundError
from mlwarehouse.storage import scheme_of

CHUNK_BYTES = 1024 * 1024
"""What is held of a file at once."""

ENTRY_POINTS = "mlwarehouse.artifact_stores"
"""The entry-point group of other packages' stores: the name is the scheme, the object is called with the address."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Stored:
    """What is known of stored bytes.

    Attributes:
        digest: Their SHA-256 in hexadecimal.
        size_bytes: How many there are.
    """

    digest: str
    size_bytes: int


class Blobs(Protocol):
    """Keeps blobs under one address. Processes and threads may share it.

    A blob appears whole or not at all. Its methods raise `OSError` where the place can't be reached or written.

    Attributes:
        uri: The address, for messages.
    """

    uri: str

    def size(self, digest: str) -> int | None:
        """A blob's size in bytes; None where there is none of that digest."""
        ...

    def put_file(self, source: BinaryIO) -> Stored:
        """Store a file, in constant memory, unless its blob is there with the right size.

        Args:
            source: The file, at its start; it can be read again by ``seek(0)``.
        """
        ...

    def put_bytes(self, content: bytes) -> Stored:
        """Store bytes, likewise."""
        ...

    def open(self, digest: str) -> BinaryIO:
        """Open a blob's bytes; whoever reads them checks them.

        Raises:
            FileNotFoundError: There is none of that digest.
        """
        ...

    def delete(self, digest: str) -> None:
        """Remove a blob; fine when it isn't there."""
        ...


def open_blobs(uri: str | Path, builtin: Mapping[str, Callable[[str], Blobs]]) -> Blobs:
    """What keeps blobs at an address, by its scheme.

    Args:
        uri: A path, or an address with a scheme.
        builtin: What this package has, by scheme; other packages add to it by entry points in `ENTRY_POINTS`.

    Raises:
        InvalidInputError: Nobody keeps blobs at such an address.
    """
    scheme = scheme_of(uri)
    if scheme in builtin:
        return builtin[scheme](str(uri))
    found = tuple(entry_points(group=ENTRY_POINTS, name=scheme))
    if not found:
        known = ", ".join(sorted({*builtin, *(e.name for e in entry_points(group=ENTRY_POINTS))}))
        raise InvalidInputError(
            f"Artifacts can't be kept at `{uri}`: no installed package has a store for `{scheme}://`; there is {known}."
        )
    blobs: Blobs = found[0].load()(str(uri))
    return blobs


def check_digest(digest: str) -> str:
    """The digest, if it is one.

    Raises:
        InvalidInputError: It is something else.
    """
    if not _DIGEST.fullmatch(digest):
        raise InvalidInputError(f"`{digest[:80]}` isn't a digest; a digest is 64 hexadecimal digits in lower case.")
    return digest


def blob_name(digest: str) -> str:
    """Where a blob is under its store's address, on disk and in an object store alike."""
    return f"{digest[:2]}/{digest}"


def copy(stream: Any, out: Any | None) -> Stored:
    """Read a stream to its end, hashing, and write it to `out` if there is one."""
    sha = hashlib.sha256()
    size = 0
    while chunk := stream.read(CHUNK_BYTES):
        sha.update(chunk)
        size += len(chunk)
        if out is not None:
            out.write(chunk)
    return Stored(sha.hexdigest(), size)


def open_regular(path: Path) -> BinaryIO:
    """Open a file to store.

    Raises:
        NotFoundError: There is no such file.
        InvalidInputError: It isn't a regular file; a pipe, say, is neither read nor waited for.
        OSError: It can't be opened.
    """
    try:
        # Without waiting: what was a file a moment ago may be a pipe by now.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFoundError(f"There is no file `{path}` to store.") from None
    except OSError:
        if path.exists() and not path.is_file():
            raise InvalidInputError(f"`{path}` isn't a regular file; only files can be stored.") from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidInputError(f"`{path}` isn't a regular file; only files can be stored.")
    return os.fdopen(fd, "rb")


def compare(digest: str, found: Stored) -> None:
    """Refuse bytes that aren't those of a digest.

    Raises:
        DigestMismatchError: They aren't.
    """
    if found.digest != digest:
        raise DigestMismatchError(
            f"Stored file `{digest}` now has the digest `{found.digest}` ({found.size_bytes} bytes): its bytes were "
            "changed after they were logged, so it isn't used; remove that blob and log the file again."
        )
