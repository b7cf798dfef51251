"""A blob's bytes, checked as they are read."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, BinaryIO

from mlwarehouse.artifacts.blobs import CHUNK_BYTES, Stored, compare

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class CheckedReader(io.RawIOBase):
    """Reads a blob from its start to its end; its last megabyte comes only when all bytes are those of the digest.

    So whoever reads to the end has the bytes that were logged, or an error, and of a small file nothing else ever.
    """

    def __init__(self, stream: BinaryIO, digest: str) -> None:
        """Read ``stream``, whose digest shall be ``digest``; closing this closes it."""
        self._stream = stream
        self._digest = digest
        self._sha = hashlib.sha256()
        self._size = 0
        self._chunk = memoryview(b"")
        self._next = self._load()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some bytes into a buffer.

        Raises:
            DigestMismatchError: The bytes were changed since they were stored.
        """
        view = memoryview(buffer).cast("B")
        if not self._chunk:
            following = self._load() if self._next else b""
            self._chunk, self._next = memoryview(self._next), following
        n = min(len(view), len(self._chunk))
        view[:n] = self._chunk[:n]
        self._chunk = self._chunk[n:]
        return n

    def close(self) -> None:
        """Close the blob, too."""
        if not self.closed:
            self._stream.close()
        super().close()

    def _load(self) -> bytes:
        """The chunk behind the one that is given out next; there being none, all are checked."""
        chunk = bytes(self._stream.read(CHUNK_BYTES))
        self._sha.update(chunk)
        self._size += len(chunk)
        if len(chunk) < CHUNK_BYTES:
            more = bytes(self._stream.read(1))
            if more:
                self._sha.update(more)
                self._size += 1
                return chunk + more
            compare(self._digest, Stored(self._sha.hexdigest(), self._size))
        return chunk
