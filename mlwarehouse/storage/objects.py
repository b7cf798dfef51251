"""Files in an S3-compatible object store, through Arrow's file system.

A store that is away for a moment is asked again with growing pauses, for `PATIENCE_S` in all; then the error says so.
An object appears when its upload is complete, so a writer that is killed leaves no half object. (It leaves the parts of
a large one: a lifecycle rule of the bucket removes those.)
"""

from __future__ import annotations

import ctypes
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.storage.base import FileInfo

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import S3FileSystem

T = TypeVar("T")

PATIENCE_S = 20.0
"""How long a store that is away is waited for, in all; a request that it leaves unanswered has its own limit."""

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0

CONNECT_TIMEOUT_S = 5.0

SDK_TRIES = 2
"""A request is tried so often before `patiently` takes over, whose pauses are longer."""

DEFAULT_REGION = "us-east-1"
"""What S3-compatible stores that know no regions take."""

DELTA_OPTIONS = {
    # A log entry is put only where none is, which makes concurrent commits safe without a lock server.
    "aws_conditional_put": "etag",
    "max_retries": "8",
    "retry_timeout": "20s",
    "backoff_config.init_backoff": "100ms",
    "backoff_config.max_backoff": "2s",
    "timeout": "60s",
    "connect_timeout": "5s",
}

_PASSING = (
    *("NETWORK_CONNECTION", "SLOW_DOWN", "THROTTLING", "SERVICE_UNAVAILABLE", "INTERNAL_FAILURE", "REQUEST_TIME"),
    *("HTTP STATUS 429", "HTTP STATUS 5"),
)
"""Words of the AWS SDK for failures that may be over soon."""


class ObjectStorage:
    """A prefix in a bucket; see `Storage`. Folders are only parts of names, so there is nothing to make."""

    creates_exclusively = False

    def __init__(self, bucket: str, prefix: str) -> None:
        """Name a prefix; nothing is asked of the store yet.

        Args:
            bucket: The bucket; it must be there.
            prefix: The prefix, without slashes around it; empty means the whole bucket.
        """
        self._path = f"{bucket}/{prefix}" if prefix else bucket
        self._bucket, self._prefix = bucket, prefix
        self.uri = f"s3://{self._path}"

    @classmethod
    def at(cls, uri: str) -> ObjectStorage:
        """The prefix at an ``s3://`` address.

        Raises:
            InvalidInputError: It names no bucket, or has empty, ``.`` or ``..`` names in it.
        """
        path = uri.partition("://")[2].rstrip("/")
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts) or any(c in path for c in "?#%\\") or not path.isprintable():
            raise InvalidInputError(
                f"The address `{ascii(uri)[1:-1]}` can't be meant; write s3://bucket/prefix, with plain names between "
                "the slashes."
            )
        check_environment()
        return cls(parts[0], "/".join(parts[1:]))

    @property
    def delta_options(self) -> Mapping[str, str] | None:
        """See `Storage.delta_options`; keys and endpoint it takes from the environment, as Arrow does."""
        region = _region()
        return DELTA_OPTIONS if region is None else {**DELTA_OPTIONS, "aws_region": region}

    def child(self, name: str) -> ObjectStorage:
        """See `Storage.child`."""
        return ObjectStorage(self._bucket, f"{self._prefix}/{name}" if self._prefix else name)

    @property
    def parent(self) -> ObjectStorage:
        """See `Storage.parent`."""
        return ObjectStorage(self._bucket, self._prefix.rpartition("/")[0])

    def folder(self, what: str) -> Path:
        """See `Storage.folder`."""
        raise InvalidInputError(
            f"{what} needs a local folder, and `{self.uri}` is in an object store. Copy it to a local folder first."
        )

    def make(self) -> None:
        """See `Storage.make`."""

    def exists(self, name: str = "") -> bool:
        """See `Storage.exists`."""
        from pyarrow.fs import FileType

        return bool(self._info(name).type != FileType.NotFound)

    def names(self) -> list[str]:
        """See `Storage.names`."""
        return sorted(info.base_name for info in self._listed())

    def files(self) -> dict[str, FileInfo]:
        """See `Storage.files`."""
        from pyarrow.fs import FileType

        found = sorted((i for i in self._listed() if i.type == FileType.File), key=lambda info: str(info.base_name))
        return {info.base_name: FileInfo(info.size, info.mtime_ns / 1e9) for info in found}

    def info(self, name: str) -> FileInfo | None:
        """See `Storage.info`."""
        found = self._info(name)
        return None if found.size is None else FileInfo(found.size, found.mtime_ns / 1e9)

    def size(self, name: str) -> int | None:
        """See `Storage.size`."""
        found = self.info(name)
        return None if found is None else found.size

    def read(self, name: str) -> bytes:
        """See `Storage.read`."""

        def read() -> bytes:
            with _file_system().open_input_stream(self._key(name)) as stream:
                content: bytes = stream.read()
                return content

        return patiently(read)

    def create(self, name: str, content: bytes) -> None:
        """See `Storage.create`."""
        if self.size(name) is None:
            self.write(name, content)

    def write(self, name: str, content: bytes) -> None:
        """See `Storage.write`."""

        def write() -> None:
            with self.open_output(name) as out:
                out.write(content)

        patiently(write)

    def open_input(self, name: str) -> pa.NativeFile:
        """See `Storage.open_input`."""
        return patiently(lambda: _file_system().open_input_file(self._key(name)))

    @contextmanager
    def open_output(self, name: str) -> Iterator[pa.NativeFile]:
        """See `Storage.open_output`."""
        out = patiently(lambda: _file_system().open_output_stream(self._key(name)))
        try:
            yield out
            out.close()
        except BaseException:
            _abandon(out)
            raise

    def delete(self, name: str) -> None:
        """See `Storage.delete`."""

        def delete() -> None:
            try:
                _file_system().delete_file(self._key(name))
            except FileNotFoundError:
                return

        patiently(delete)

    def sync(self, *names: str) -> None:
        """See `Storage.sync`: an object that was acknowledged is durable."""

    def _key(self, name: str) -> str:
        return f"{self._path}/{name}" if name else self._path

    def _listed(self) -> list[pa.fs.FileInfo]:
        from pyarrow.fs import FileSelector

        selector = FileSelector(self._path, allow_not_found=True)
        return list(patiently(lambda: _file_system().get_file_info(selector)))

    def _info(self, name: str) -> pa.fs.FileInfo:
        return patiently(lambda: _file_system().get_file_info(self._key(name)))

    def __repr__(self) -> str:
        return f"ObjectStorage({self.uri!r})"


def _file_system() -> S3FileSystem:
    return _file_system_of(os.getpid(), endpoint(), _region())


@lru_cache(maxsize=8)
def _file_system_of(pid: int, url: str, region: str | None) -> S3FileSystem:  # noqa: ARG001 -- see the docstring
    """Arrow's file system, one a process: a forked child mustn't use its parent's connections."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    scheme, _, host = url.partition("://")
    return S3FileSystem(
        region=region,
        connect_timeout=CONNECT_TIMEOUT_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=SDK_TRIES),
        # Parts that wait for their upload would be held in memory: the next one is made when the last is sent.
        background_writes=False,
        **({"endpoint_override": host, "scheme": scheme} if host else {}),
    )


def _abandon(stream: pa.NativeFile) -> None:
    """Leave an upload incomplete: Arrow would complete it when the stream is closed, or let go of, at exit at last."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(stream))


def endpoint() -> str:
    """The address of an S3-compatible store that isn't Amazon's, from the environment; empty means Amazon's."""
    given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    return given.rstrip("/")


def check_environment() -> None:
    """Refuse to send keys and data in the clear, unless that was asked for.

    Raises:
        InvalidInputError: The endpoint isn't an address, or is plain HTTP and ``AWS_ALLOW_HTTP`` isn't ``true``.
    """
    url = endpoint()
    scheme = url.partition("://")[0].lower()
    if url and scheme not in ("http", "https"):
        raise InvalidInputError(f"AWS_ENDPOINT_URL is `{url}`; it begins with https://, or http:// within a machine.")
    if scheme == "http" and os.environ.get("AWS_ALLOW_HTTP", "").lower() not in ("true", "1", "yes"):
        raise InvalidInputError(
            f"AWS_ENDPOINT_URL is `{url}`, which isn't encrypted: use https://, or set AWS_ALLOW_HTTP=true when that "
            "is meant."
        )


def _region() -> str | None:
    """The region that the environment names; None leaves it to the libraries. Other stores than Amazon's need none."""
    given = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return given or (DEFAULT_REGION if endpoint() else None)


def patiently(ask: Callable[[], T]) -> T:
    """Do something with a storage, and again while what keeps it from being done may pass.

    Raises:
        OSError: It doesn't pass, or hasn't within `PATIENCE_S`.
    """
    deadline = time.monotonic() + PATIENCE_S
    pause = FIRST_PAUSE_S
    while True:
        try:
            return ask()
        except OSError as error:
            if not is_passing(error) or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause * random.uniform(0.5, 1))
        pause = min(2 * pause, LONGEST_PAUSE_S)


def is_passing(error: OSError) -> bool:
    """Whether a failure may be over soon: the store is away or busy, rather than that it refuses."""
    said = str(error).upper()
    return any(word in said for word in _PASSING)
