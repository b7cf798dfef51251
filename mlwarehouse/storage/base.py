"""What a storage is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class FileInfo:
    """A file of a storage.

    Attributes:
        size: Bytes.
        modified_at: When it was written, seconds since the epoch, by the storage's clock.
    """

    size: int
    modified_at: float


class Storage(Protocol):
    """One folder of files, local or in an object store. Names in it are relative, with ``/`` between folders.

    A file appears whole or not at all, and once it is there it isn't changed. Threads may share a storage, and a forked
    process may go on using it.

    Its methods raise `FileNotFoundError` where a file isn't there and `OSError` where the storage can't be reached or
    refuses; who asks knows what was wanted, and says so.

    Attributes:
        uri: The folder's address, as a person would write it; without a slash at its end.
        creates_exclusively: Whether of several processes that create one file at once exactly one does. Where not, the
            last one's content stays, so they must all write the same.
    """

    uri: str
    creates_exclusively: bool

    @property
    def delta_options(self) -> Mapping[str, str] | None:
        """What delta-rs must be told to reach it; None means nothing."""
        ...

    def child(self, name: str) -> Storage:
        """The folder of a name within this one."""
        ...

    @property
    def parent(self) -> Storage:
        """The folder that this one is in."""
        ...

    def folder(self, what: str) -> Path:
        """The local folder that this is.

        Args:
            what: What needs a local folder, for the error's message, such as ``Spark``.

        Raises:
            InvalidInputError: It is in an object store.
        """
        ...

    def make(self) -> None:
        """Make the folder, with those above it, where it isn't there; durably."""
        ...

    def exists(self, name: str = "") -> bool:
        """Whether there is a file or folder of a name; empty asks for the folder itself."""
        ...

    def names(self) -> list[str]:
        """The names of files and folders directly in it, sorted; none where it isn't there."""
        ...

    def files(self) -> dict[str, FileInfo]:
        """The files directly in it by name, sorted; none where it isn't there."""
        ...

    def info(self, name: str) -> FileInfo | None:
        """A file's size and time; None where there is no such file."""
        ...

    def size(self, name: str) -> int | None:
        """A file's size in bytes; None where there is no such file."""
        ...

    def read(self, name: str) -> bytes:
        """A small file's content."""
        ...

    def create(self, name: str, content: bytes) -> None:
        """Write a small file durably unless it is there; see `creates_exclusively`."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a small file durably, in the place of one that is there."""
        ...

    def open_input(self, name: str) -> pa.NativeFile:
        """Open a file for reading, at any place of it."""
        ...

    def open_output(self, name: str) -> AbstractContextManager[pa.NativeFile]:
        """Write a file that nobody else writes, in constant memory.

        In an object store it appears when the context ends. Whoever fails within it deletes the file afterwards.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove a file; fine when it isn't there."""
        ...

    def sync(self, *names: str) -> None:
        """Force files and the folder's entries to disk; nothing to do where a written object is durable."""
        ...
