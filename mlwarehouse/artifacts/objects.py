"""Blobs in an object store.

A file is hashed first and sent only when its blob isn't there, so an upload of many files that was broken off goes on
where it was. What is sent is hashed once more, and the upload is completed only if it is the same; a large file goes in
parts, so memory stays constant.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import BinaryIO, cast

from mlwarehouse.artifacts.blobs import CHUNK_BYTES, Stored, blob_name, copy
from mlwarehouse.errors import StorageError
from mlwarehouse.storage import ObjectStorage, patiently

SMALL_BYTES = 4 * CHUNK_BYTES
"""A file up to this size is held in memory, and read once."""

TRIES = 3
"""How often a file that changes while it is sent is started anew."""


class ObjectBlobs:
    """Blobs in ``<prefix>/blobs/<first two digits>/<digest>``; see `Blobs`."""

    def __init__(self, storage: ObjectStorage) -> None:
        """Look at the store under ``storage``; nothing is asked yet."""
        self.uri = storage.uri
        self._blobs = storage.child("blobs")

    @classmethod
    def at(cls, uri: str) -> ObjectBlobs:
        """The store at an ``s3://`` address."""
        return cls(ObjectStorage.at(uri))

    def size(self, digest: str) -> int | None:
        """See `Blobs.size`."""
        return self._blobs.size(blob_name(digest))

    def put_file(self, source: BinaryIO) -> Stored:
        """See `Blobs.put_file`.

        Raises:
            OSError: It can't be sent.
            StorageError: It changes all the time.
        """
        head = source.read(SMALL_BYTES + 1)
        if len(head) <= SMALL_BYTES:
            return self.put_bytes(head)
        for _ in range(TRIES):
            source.seek(0)
            stored = copy(source, None)
            if self.size(stored.digest) == stored.size_bytes or patiently(partial(self._is_sent, source, stored)):
                return stored
        raise StorageError(
            f"The file couldn't be stored in `{self.uri}`: it changed each of {TRIES} times while it was sent."
        )

    def put_bytes(self, content: bytes) -> Stored:
        """See `Blobs.put_bytes`."""
        stored = Stored(hashlib.sha256(content).hexdigest(), len(content))
        if self.size(stored.digest) != stored.size_bytes:
            self._blobs.write(blob_name(stored.digest), content)
        return stored

    def open(self, digest: str) -> BinaryIO:
        """See `Blobs.open`."""
        return cast(BinaryIO, self._blobs.open_input(blob_name(digest)))

    def delete(self, digest: str) -> None:
        """See `Blobs.delete`."""
        self._blobs.delete(blob_name(digest))

    def _is_sent(self, source: BinaryIO, stored: Stored) -> bool:
        """Send a file; False when its bytes aren't those that were hashed, and then no blob appears."""
        source.seek(0)
        try:
            with self._blobs.open_output(blob_name(stored.digest)) as out:
                if copy(source, out) != stored:
                    raise _ChangedError
        except _ChangedError:
            return False
        return True


class _ChangedError(Exception):
    """Ends the upload of a file that has changed."""
