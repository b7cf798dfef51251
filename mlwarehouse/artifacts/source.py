"""The file that is being stored: its own failures, told from those of the store."""

from __future__ import annotations

from typing import BinaryIO

from mlwarehouse.errors import StorageError


class Source:
    """Reads a file; that it can't be read is never taken for the store's refusal."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        """Read ``stream``, which a message calls ``name``."""
        self._stream = stream
        self._name = name

    def read(self, n: int = -1) -> bytes:
        """Read some bytes.

        Raises:
            StorageError: They can't be read.
        """
        try:
            return self._stream.read(n)
        except OSError as error:
            raise StorageError(f"{self._name} can't be read: {error}") from error

    def seek(self, position: int) -> int:
        """Go on from a place."""
        return self._stream.seek(position)
