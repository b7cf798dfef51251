"""Artifacts' bytes, from one store to another."""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.artifacts import ArtifactStore
from mlwarehouse.errors import DigestMismatchError, NotFoundError, StorageError, StoreRefusedError
from mlwarehouse.imports.base import Oddity

COPIES = 8
"""Files that are copied at once."""

IN_MEMORY = 16 << 20
"""Larger files are held in a temporary one on their way."""


class Files:
    """Copies the bytes of artifacts before their rows come.

    Attributes:
        n_copied: Files that were copied.
        oddities: Those that couldn't be read.
    """

    def __init__(self, there: ArtifactStore, here: ArtifactStore) -> None:
        """Copy from one store to another."""
        self._there, self._here = there, here
        self.n_copied = 0
        self.oddities: list[Oddity] = []

    def stored(self, rows: pa.Table) -> pa.Table:
        """Rows of `artifact_events` whose bytes are here now; those that can't be read are told and left out.

        Raises:
            StoreRefusedError: The store here takes no file.
        """
        digests = pc.unique(rows.column("digest")).to_pylist()
        with ThreadPoolExecutor(COPIES, thread_name_prefix="mlwarehouse-merge") as pool:
            told = dict(zip(digests, pool.map(self._copy, digests), strict=True))
        self.n_copied += sum(answer is True for answer in told.values())
        failed = {digest: answer for digest, answer in told.items() if isinstance(answer, str)}
        if not failed:
            return rows
        is_lost = pc.is_in(rows.column("digest"), pa.array(sorted(failed), pa.string()))
        for row in rows.filter(is_lost).select(["run_id", "path", "digest"]).to_pylist():
            place = f"run {row['run_id']}, {row['path']}"
            self.oddities.append(Oddity("artifact unreadable", place, f"{failed[row['digest']]} It was left out."))
        return rows.filter(pc.invert(is_lost))

    def _copy(self, digest: str) -> bool | str:
        """Copy a file; returns whether it wasn't here, or why it can't be read."""
        if self._here.has(digest):
            return False
        try:
            with self._there.open(digest) as stream, tempfile.SpooledTemporaryFile(IN_MEMORY) as held:
                # To its end, where the bytes are known to be those of the digest.
                shutil.copyfileobj(stream, held, 1 << 20)
                held.seek(0)
                self._here.put_stream(cast(BinaryIO, held))
        except StoreRefusedError:
            raise
        except (NotFoundError, DigestMismatchError, StorageError) as error:
            return str(error)
        return True
