"""Copying artifacts: several at once; one that can't be read is told and left out."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, cast

import pyarrow as pa

from mlwarehouse.artifacts import ArtifactStore, Stored
from mlwarehouse.errors import InvalidInputError, NotFoundError, StorageError, StoreRefusedError
from mlwarehouse.imports.base import Fetch, Oddity

COPIES = 8
"""Files that are copied at once."""

IN_MEMORY = 16 << 20
"""Larger files are held in a temporary one on their way."""


def store_files(files: pa.Table, store: ArtifactStore, oddities: list[Oddity], fetch: Fetch | None = None) -> pa.Table:
    """Store the bytes of files.

    Args:
        files: As in `Batch.files`.
        store: Where to.
        oddities: Gets those that can't be read.
        fetch: See `Batch.fetch`.

    Returns:
        Rows of `artifact_events` for those that were stored, without the envelope but for ``event_at``: the time of the
        file.

    Raises:
        StoreRefusedError: The store takes no file.
    """
    given = files.to_pylist()
    packages = {(f["run_id"], _folder(f["path"])) for f in given if f["path"].rpartition("/")[2] == "MLmodel"}

    def put(file: dict[str, object]) -> tuple[str, int] | Oddity:
        try:
            stored = _fetched(store, str(file["file"]), fetch) if fetch else store.put_file(str(file["file"]))
        except StoreRefusedError:
            raise
        except (NotFoundError, InvalidInputError, StorageError) as error:
            return Oddity("artifact unreadable", str(file["file"]), str(error))
        return stored.digest, stored.size_bytes

    with ThreadPoolExecutor(COPIES, thread_name_prefix="mlwarehouse-import") as pool:
        stored = list(pool.map(put, given))
    kept = [(f, s) for f, s in zip(given, stored, strict=True) if not isinstance(s, Oddity)]
    oddities += [s for s in stored if isinstance(s, Oddity)]
    return pa.table(
        {
            "run_id": pa.array([f["run_id"] for f, _ in kept], pa.string()),
            "path": pa.array([f["path"] for f, _ in kept], pa.string()),
            "digest": pa.array([digest for _, (digest, _) in kept], pa.string()),
            "size_bytes": pa.array([size for _, (_, size) in kept], pa.int64()),
            "kind": pa.array([_kind(f["run_id"], f["path"], packages) for f, _ in kept], pa.string()),
            "event_at": pa.array([f["changed_at"] for f, _ in kept], pa.int64()),
        }
    )


def _fetched(store: ArtifactStore, file: str, fetch: Fetch) -> Stored:
    """Fetch a file and store it; it is held in a temporary one on its way, so that what breaks off isn't stored."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as held:
        fetch(file, cast(BinaryIO, held))
        held.seek(0)
        return store.put_stream(cast(BinaryIO, held))


def _kind(run_id: str, path: str, packages: set[tuple[str, str]]) -> str:
    folder = _folder(path)
    while folder:
        if (run_id, folder) in packages:
            return "model"
        folder = _folder(folder)
    return "file"


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
