"""The content-addressed store: a blob is kept once, under the SHA-256 of its bytes, and checked when read.

Many files go in parallel. Nothing that is there is sent again, so whoever is broken off starts again and goes on where
it was.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from mlwarehouse.artifacts.beneath import write_beneath
from mlwarehouse.artifacts.blobs import (
    CHUNK_BYTES,
    Blobs,
    Stored,
    check_digest,
    compare,
    copy,
    open_blobs,
    open_regular,
)
from mlwarehouse.artifacts.local import LocalBlobs
from mlwarehouse.artifacts.objects import ObjectBlobs
from mlwarehouse.artifacts.paths import clean_path
from mlwarehouse.artifacts.reading import CheckedReader
from mlwarehouse.artifacts.source import Source
from mlwarehouse.disk import sync_path
from mlwarehouse.errors import InvalidInputError, NotFoundError, StorageError, StoreRefusedError
from mlwarehouse.storage import patiently

T = TypeVar("T")

BUILTIN: Mapping[str, Callable[[str], Blobs]] = {"file": LocalBlobs.at, "s3": ObjectBlobs.at}
"""What keeps blobs, by the scheme of its address."""

TRANSFERS = 8
"""Files that are on their way at once."""


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
    """The blobs of one warehouse.

    Processes and threads may share it.

    Attributes:
        blobs: What keeps them.
    """

    def __init__(self, blobs: Blobs | Path) -> None:
        """Use what keeps blobs, or the local folder that does; nothing is made yet."""
        self.blobs: Blobs = LocalBlobs(blobs) if isinstance(blobs, Path) else blobs

    @classmethod
    def at(cls, uri: str | Path) -> ArtifactStore:
        """The store at an address, by its scheme.

        Args:
            uri: A path, ``s3://bucket/prefix``, or an address that an installed package adds a store for.

        Raises:
            InvalidInputError: There is no store for such an address.
        """
        return cls(open_blobs(uri, BUILTIN))

    def put_file(self, path: Path | str) -> Stored:
        """Store a file's bytes as they are read now; a blob that is there already is left alone.

        Args:
            path: The file.

        Returns:
            The digest and size of what was stored.

        Raises:
            NotFoundError: There is no such file.
            InvalidInputError: It isn't a regular file.
            StorageError: The file can't be read; nothing was stored.
            StoreRefusedError: Writing failed, or the store stayed away; nothing was stored.
        """
        with _source(path) as stream:
            try:
                return self.blobs.put_file(cast(BinaryIO, Source(stream, f"File `{path}`")))
            except OSError as error:
                raise StoreRefusedError(f"File `{path}` couldn't be stored in `{self.blobs.uri}`: {error}") from error

    def put_stream(self, source: BinaryIO) -> Stored:
        """Store the bytes of an open file.

        Args:
            source: The file, at its start; it can be read again by ``seek(0)``.

        Raises:
            StoreRefusedError: Writing failed, or the store stayed away; nothing was stored.
        """
        try:
            return self.blobs.put_file(source)
        except OSError as error:
            raise StoreRefusedError(f"A file couldn't be stored in `{self.blobs.uri}`: {error}") from error

    def check_file(self, path: Path | str) -> None:
        """Refuse a file that couldn't be stored wherever it should go; see `put_file`.

        Raises:
            NotFoundError: There is no such file.
            InvalidInputError: It isn't a regular file.
            StorageError: The file can't be read.
        """
        _source(path).close()

    def put_files(self, files: Mapping[str, Path]) -> dict[str, Stored]:
        """Store files, several at once. After a failure, the same again sends only what isn't there.

        Args:
            files: Local files, by whatever names them.

        Returns:
            The digest and size of each, by the same names.

        Raises:
            NotFoundError: As in `put_file`; files that were stored by then stay.
            InvalidInputError: Likewise.
            StorageError: Likewise.
            StoreRefusedError: Likewise.
        """
        stored = _each(self.put_file, list(files.values()))
        return dict(zip(files, stored, strict=True))

    def put_bytes(self, content: bytes) -> Stored:
        """Store bytes.

        Raises:
            StoreRefusedError: Writing failed, or the store stayed away; nothing was stored.
        """
        try:
            return self.blobs.put_bytes(content)
        except OSError as error:
            raise StoreRefusedError(
                f"{len(content)} bytes couldn't be stored in `{self.blobs.uri}`: {error}"
            ) from error

    def has(self, digest: str) -> bool:
        """Whether there is a blob of a digest; its bytes aren't looked at.

        Raises:
            InvalidInputError: That isn't a digest.
            StorageError: The store can't be reached.
        """
        try:
            return self.blobs.size(check_digest(digest)) is not None
        except OSError as error:
            raise StorageError(f"The store `{self.blobs.uri}` can't be read: {error}") from error

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading from its start to its end; its bytes are checked on the way.

        Raises:
            InvalidInputError: That isn't a digest.
            NotFoundError: No blob has it.
            DigestMismatchError: The bytes were changed since they were stored; raised at the latest where the last ones
                would be read.
            StorageError: The store can't be reached.
        """
        stream = self._open(digest)
        try:
            return cast(BinaryIO, io.BufferedReader(CheckedReader(stream, digest), CHUNK_BYTES))
        except BaseException:
            stream.close()
            raise

    def verify(self, digest: str) -> Stored:
        """Read a blob in full and compare its bytes with its name.

        Raises:
            InvalidInputError: That isn't a digest.
            NotFoundError: No blob has it.
            DigestMismatchError: The bytes were changed since they were stored.
            StorageError: The store can't be reached.
        """
        with self._open(digest) as stream:
            found = copy(stream, None)
        compare(digest, found)
        return found

    def fetch(self, files: Mapping[str, str], target: Path) -> None:
        """Copy blobs into a folder, several at once, each checked before it appears there.

        They are copies, not links: whoever edits one can't change the store. A link in the folder is replaced where a
        file goes, and never followed.

        Args:
            files: Digest by relative path.
            target: The folder; made when it isn't there. Files of the same paths are replaced.

        Raises:
            InvalidInputError: A path that could lead out of the folder, or that is both a file and a folder.
            NotFoundError: No blob has one of the digests.
            DigestMismatchError: A blob's bytes were changed since they were stored; that file isn't there.
            StorageError: Writing failed, or the store stayed away.
        """
        _check_files(files)
        for digest in set(files.values()):
            check_digest(digest)
        root = Path(target)

        def fetch_one(path: str) -> None:
            patiently(lambda: write_beneath(root, path, lambda out: self._write(files[path], out)))

        try:
            missing = [
                d for d, size in _each(lambda d: (d, self.blobs.size(d)), list(set(files.values()))) if size is None
            ]
            if missing:
                raise self._unknown(missing[0])
            root.mkdir(parents=True, exist_ok=True)
            _each(fetch_one, sorted(files))
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

    def _write(self, digest: str, out: BinaryIO) -> None:
        with self._open(digest) as stream:
            compare(digest, copy(stream, out))

    def _open(self, digest: str) -> BinaryIO:
        try:
            return self.blobs.open(check_digest(digest))
        except FileNotFoundError:
            raise self._unknown(digest) from None
        except OSError as error:
            raise StorageError(f"The stored file `{digest}` in `{self.blobs.uri}` can't be read: {error}") from error

    def _unknown(self, digest: str) -> NotFoundError:
        return NotFoundError(f"No stored file has the digest `{digest}` in `{self.blobs.uri}`.")


def _source(path: Path | str) -> BinaryIO:
    try:
        return open_regular(Path(path))
    except OSError as error:
        raise StorageError(f"File `{path}` can't be read: {error}") from error


def _each(do: Callable[[Any], T], inputs: list[Any]) -> list[T]:
    """Do something with each input, several at once; the first failure ends it, and what hasn't begun never does."""
    if len(inputs) <= 1:
        return [do(each) for each in inputs]
    with ThreadPoolExecutor(min(TRANSFERS, len(inputs)), thread_name_prefix="mlwarehouse-artifacts") as pool:
        try:
            return list(pool.map(do, inputs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _check_files(files: Mapping[str, str]) -> None:
    for path in files:
        parts = clean_path(path).split("/")
        for n in range(1, len(parts)):
            folder = "/".join(parts[:n])
            if folder in files:
                raise InvalidInputError(f"Artifact path `{folder}` would be both a file and a folder (of `{path}`).")


def _is_complete(folder: Path, files: Mapping[str, str]) -> bool:
    return folder.is_dir() and all((folder / path).is_file() for path in files)
