"""The content-addressed store: a blob is written once, under the SHA-256 of its bytes, and checked when read.

A blob becomes visible by one rename after its bytes are on disk, so a crash leaves at most a ``.partial.`` file,
which nothing reads. Writers need no lock: two that store the same bytes rename equal files onto the same name.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mlwarehouse.artifacts.paths import clean_path
from mlwarehouse.disk import sync_path
from mlwarehouse.errors import DigestMismatchError, InvalidInputError, NotFoundError, StorageError

CHUNK_BYTES = 1024 * 1024

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


def package_digest(files: Mapping[str, str]) -> str:
    """One digest for many files: the SHA-256 over the sorted lines ``<digest>  <path>``.

    Args:
        files: Digest by path.

    Returns:
        64 hexadecimal digits. The lines are those of ``sha256sum``, so anyone can compute it again.
    """
    lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


class ArtifactStore:
    """The blobs of one warehouse, in ``<root>/blobs/<first two digits>/<digest>``.

    Processes and threads may share it.
    """

    def __init__(self, root: Path) -> None:
        """Look at the store under ``root`` (a warehouse's ``artifacts`` folder); nothing is made yet."""
        self.root = Path(root)
        self._blobs = self.root / "blobs"

    def put_file(self, path: Path | str) -> Stored:
        """Store a file's bytes as they are read now; a blob that is there already is left alone.

        Args:
            path: The file.

        Returns:
            The digest and size of what was stored.

        Raises:
            NotFoundError: There is no such file.
            InvalidInputError: It isn't a regular file.
            StorageError: Reading or writing failed; nothing was stored.
        """
        source = Path(path)
        if not source.exists():
            raise NotFoundError(f"There is no file `{source}` to store.")
        if not source.is_file():
            raise InvalidInputError(f"`{source}` isn't a regular file; only files can be stored.")
        try:
            with source.open("rb") as stream:
                return self._put(stream)
        except OSError as error:
            raise StorageError(f"File `{source}` couldn't be stored in `{self.root}`: {error}") from error

    def put_bytes(self, content: bytes) -> Stored:
        """Store bytes.

        Raises:
            StorageError: Writing failed; nothing was stored.
        """
        try:
            return self._put(io.BytesIO(content))
        except OSError as error:
            raise StorageError(f"{len(content)} bytes couldn't be stored in `{self.root}`: {error}") from error

    def path(self, digest: str) -> Path:
        """Where a blob's bytes are; read only, and unchecked.

        Raises:
            InvalidInputError: That isn't a digest.
            NotFoundError: No blob has it.
        """
        path = self._place(digest)
        if not path.is_file():
            raise NotFoundError(f"No stored file has the digest `{digest}` in `{self.root}`.")
        return path

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading; the bytes are checked by `verify` and `fetch`, not here.

        Raises:
            InvalidInputError: That isn't a digest.
            NotFoundError: No blob has it.
        """
        return self.path(digest).open("rb")

    def verify(self, digest: str) -> Stored:
        """Read a blob in full and compare its bytes with its name.

        Raises:
            InvalidInputError: That isn't a digest.
            NotFoundError: No blob has it.
            DigestMismatchError: The bytes were changed since they were stored.
        """
        with self.open(digest) as stream:
            found = _copy(stream, None)
        _compare(digest, found, "Stored file")
        return found

    def fetch(self, files: Mapping[str, str], target: Path) -> None:
        """Copy blobs into a folder, each checked before it appears there.

        They are copies, not links: whoever edits one can't change the store.

        Args:
            files: Digest by relative path.
            target: The folder; made when it isn't there. Files of the same paths are replaced.

        Raises:
            InvalidInputError: A path that could lead out of the folder, or that is both a file and a folder.
            NotFoundError: No blob has one of the digests.
            DigestMismatchError: A blob's bytes were changed since they were stored; that file isn't there.
            StorageError: Writing failed.
        """
        _check_files(files)
        blobs = {path: self.path(digest) for path, digest in files.items()}
        try:
            for path, blob in sorted(blobs.items()):
                _fetch_one(blob, files[path], Path(target) / path)
        except OSError as error:
            raise StorageError(f"The files couldn't be written to `{target}`: {error}") from error

    def materialise(self, files: Mapping[str, str], cache_root: Path) -> Path:
        """Make a read-only folder holding exactly the given files, or find the one made before.

        Many processes may ask for the same folder at once: it appears by one rename, complete and checked.

        Args:
            files: Digest by relative path.
            cache_root: Where such folders are kept, each named by the `package_digest` of its files.

        Returns:
            The folder.

        Raises:
            InvalidInputError: As in `fetch`.
            NotFoundError: As in `fetch`.
            DigestMismatchError: As in `fetch`.
            StorageError: Writing failed.
        """
        _check_files(files)
        folder = Path(cache_root) / package_digest(files)
        if _is_complete(folder, files):
            return folder
        making = Path(cache_root) / f".partial.{uuid.uuid4().hex}"
        try:
            making.mkdir(parents=True)
            self.fetch(files, making)
            for path in files:
                (making / path).chmod(0o444)
            self._install(making, folder, files)
        except OSError as error:
            raise StorageError(f"The files couldn't be put into the cache `{cache_root}`: {error}") from error
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return folder

    def _install(self, making: Path, folder: Path, files: Mapping[str, str]) -> None:
        while True:
            try:
                making.rename(folder)
                sync_path(folder.parent)
                return
            except OSError:
                if not folder.is_dir():
                    raise
            if _is_complete(folder, files):
                return
            # Somebody has removed files from it, as cleaners of temporary folders do: put it aside and try again.
            aside = folder.with_name(f".partial.{uuid.uuid4().hex}")
            try:
                folder.rename(aside)
            except FileNotFoundError:
                continue
            shutil.rmtree(aside, ignore_errors=True)

    def _place(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise InvalidInputError(f"`{digest[:80]}` isn't a digest; a digest is 64 hexadecimal digits in lower case.")
        return self._blobs / digest[:2] / digest

    def _put(self, stream: BinaryIO) -> Stored:
        self._blobs.mkdir(parents=True, exist_ok=True)
        partial = self._blobs / f".partial.{uuid.uuid4().hex}"
        try:
            with partial.open("xb") as out:
                stored = _copy(stream, out)
                out.flush()
                os.fsync(out.fileno())
            place = self._place(stored.digest)
            # A blob of another size is what a failing disk left: the right bytes are here, so put them there.
            if not place.is_file() or place.stat().st_size != stored.size_bytes:
                if not place.parent.is_dir():
                    place.parent.mkdir(exist_ok=True)
                    sync_path(self._blobs)
                partial.chmod(0o444)
                partial.replace(place)
                sync_path(place.parent)
        finally:
            partial.unlink(missing_ok=True)
        return stored


def _copy(stream: BinaryIO, out: BinaryIO | None) -> Stored:
    """Read a stream to its end, hashing, and write it to `out` if there is one."""
    sha = hashlib.sha256()
    size = 0
    while chunk := stream.read(CHUNK_BYTES):
        sha.update(chunk)
        size += len(chunk)
        if out is not None:
            out.write(chunk)
    return Stored(sha.hexdigest(), size)


def _compare(digest: str, found: Stored, what: str) -> None:
    if found.digest != digest:
        raise DigestMismatchError(
            f"{what} `{digest}` now has the digest `{found.digest}` ({found.size_bytes} bytes): its bytes were changed "
            "after they were logged, so it isn't used; remove that blob and log the file again."
        )


def _check_files(files: Mapping[str, str]) -> None:
    for path in files:
        parts = clean_path(path).split("/")
        for n in range(1, len(parts)):
            folder = "/".join(parts[:n])
            if folder in files:
                raise InvalidInputError(f"Artifact path `{folder}` would be both a file and a folder (of `{path}`).")


def _fetch_one(blob: Path, digest: str, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    partial = to.with_name(f".partial.{uuid.uuid4().hex}")
    try:
        with blob.open("rb") as stream, partial.open("xb") as out:
            found = _copy(stream, out)
            out.flush()
            os.fsync(out.fileno())
        _compare(digest, found, "Stored file")
        partial.replace(to)
    finally:
        partial.unlink(missing_ok=True)


def _is_complete(folder: Path, files: Mapping[str, str]) -> bool:
    return folder.is_dir() and all((folder / path).is_file() for path in files)
