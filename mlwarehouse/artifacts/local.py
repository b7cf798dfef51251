"""Blobs in a local folder.

A blob becomes visible by one rename after its bytes are on disk, so a crash leaves at most a ``.partial.`` file, which
nothing reads. Writers need no lock: two that store the same bytes rename equal files onto the same name.
"""

from __future__ import annotations

import io
import os
import uuid
from pathlib import Path
from typing import BinaryIO

from mlwarehouse.artifacts.beneath import open_beneath
from mlwarehouse.artifacts.blobs import Stored, blob_name, copy
from mlwarehouse.disk import sync_path
from mlwarehouse.storage import LocalStorage


class LocalBlobs:
    """Blobs in ``<root>/blobs/<first two digits>/<digest>``; see `Blobs`."""

    def __init__(self, root: Path) -> None:
        """Look at the store under ``root``; nothing is made yet."""
        self.root = Path(root)
        self.uri = str(root)
        self._blobs = self.root / "blobs"

    @classmethod
    def at(cls, uri: str) -> LocalBlobs:
        """The store at a path or a ``file://`` address."""
        return cls(LocalStorage.at(uri).folder("A store"))

    def path(self, digest: str) -> Path:
        """Where the blob of a digest is, or would be."""
        return self._blobs / blob_name(digest)

    def size(self, digest: str) -> int | None:
        """See `Blobs.size`."""
        path = self.path(digest)
        return path.stat().st_size if path.is_file() and not path.is_symlink() else None

    def put_file(self, source: BinaryIO) -> Stored:
        """See `Blobs.put_file`; the bytes are those that are read now, at once hashed and written."""
        self._blobs.mkdir(parents=True, exist_ok=True)
        partial = self._blobs / f".partial.{uuid.uuid4().hex}"
        try:
            with partial.open("xb") as out:
                stored = copy(source, out)
                out.flush()
                os.fsync(out.fileno())
            # A blob of another size is what a failing disk left: the right bytes are here, so put them there.
            if self.size(stored.digest) != stored.size_bytes:
                place = self.path(stored.digest)
                if not place.parent.is_dir():
                    place.parent.mkdir(exist_ok=True)
                    sync_path(self._blobs)
                partial.chmod(0o444)
                partial.replace(place)
                sync_path(place.parent)
        finally:
            partial.unlink(missing_ok=True)
        return stored

    def put_bytes(self, content: bytes) -> Stored:
        """See `Blobs.put_bytes`."""
        return self.put_file(io.BytesIO(content))

    def open(self, digest: str) -> BinaryIO:
        """See `Blobs.open`."""
        return open_beneath(self._blobs, blob_name(digest))

    def delete(self, digest: str) -> None:
        """See `Blobs.delete`."""
        self.path(digest).unlink(missing_ok=True)
