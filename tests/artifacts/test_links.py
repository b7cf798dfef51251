"""No link, pipe or swap of one for a file leads out of a folder: neither what is read nor what is written."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlwarehouse.artifacts import ArtifactStore
from mlwarehouse.artifacts.blobs import CHUNK_BYTES
from mlwarehouse.errors import DigestMismatchError, InvalidInputError, NotFoundError
from tests.artifacts.test_paths import HOSTILE

SECRET = b"root:secret"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "passwd").write_bytes(SECRET)
    return folder


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() and not p.is_symlink() else None for p in sorted(folder.rglob("*"))}


_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def swapping(one: Path, other: Path) -> Iterator[None]:
    """Swap two names, each time in one step, as fast as it goes, while the block runs."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            # AT_FDCWD, and RENAME_EXCHANGE.
            assert _LIBC.renameat2(-100, bytes(one), -100, bytes(other), 2) == 0, os.strerror(ctypes.get_errno())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_no_hostile_path_makes_or_reads_a_file(store, tmp_path, outside):
    digest = store.put_bytes(b"mine").digest
    before = everything(tmp_path)
    for path in HOSTILE:
        with pytest.raises(InvalidInputError):
            store.fetch({path: digest}, tmp_path / "out")
        with pytest.raises(InvalidInputError):
            store.fetch({f"a/{path}": digest}, tmp_path / "out")
        with pytest.raises(InvalidInputError):
            store.materialise({path: digest}, tmp_path / "cache")
        with pytest.raises(InvalidInputError):
            store.open(path)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("link", ["sub", "sub/deeper"])
@pytest.mark.parametrize("target", ["folder", "file", "nothing"])
def test_a_link_on_the_way_is_not_followed(store, tmp_path, outside, link, target):
    digest = store.put_bytes(b"mine").digest
    place = tmp_path / "out" / link
    place.parent.mkdir(parents=True)
    place.symlink_to({"folder": outside, "file": outside / "passwd", "nothing": outside / "new"}[target])
    with pytest.raises(InvalidInputError, match="isn't touched: a link, or a file, is where it has a folder"):
        store.fetch({f"{link}/passwd": digest}, tmp_path / "out")
    assert {p.name: p.read_bytes() for p in outside.iterdir()} == {"passwd": SECRET}


def test_the_folder_itself_may_be_a_link(store, tmp_path):
    (tmp_path / "disk2").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk2")
    store.fetch({"a/b": store.put_bytes(b"mine").digest}, tmp_path / "out")
    assert (tmp_path / "disk2" / "a" / "b").read_bytes() == b"mine"


def test_a_folder_swapped_for_a_link_meanwhile_is_not_followed(store, tmp_path, outside):
    digest = store.put_bytes(b"mine").digest
    place, link = tmp_path / "out" / "sub", tmp_path / "link"
    place.mkdir(parents=True)
    link.symlink_to(outside)
    outcomes = set()
    with swapping(place, link):
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            try:
                store.fetch({"sub/new": digest}, tmp_path / "out")
                outcomes.add("written")
            except InvalidInputError:
                outcomes.add("refused")
    assert {p.name: p.read_bytes() for p in outside.iterdir()} == {"passwd": SECRET}
    assert outcomes == {"written", "refused"}


@pytest.mark.parametrize("kind", ["file", "folder", "another run's file", "shard"])
def test_a_blob_that_is_a_link_is_not_read(store, tmp_path, outside, kind):
    digest, other = store.put_bytes(b"mine").digest, store.put_bytes(b"another's").digest
    place = store.blobs.path(digest)
    target = {
        "file": outside / "passwd",
        "folder": outside,
        "another run's file": store.blobs.path(other),
        "shard": outside,
    }[kind]
    if kind == "shard":
        (outside / digest).write_bytes(SECRET)
        place.unlink()
        place.parent.rmdir()
        place.parent.symlink_to(target)
    else:
        place.unlink()
        place.symlink_to(target)
    for read in (store.open, store.verify, lambda d: store.fetch({"f": d}, tmp_path / "out")):
        with pytest.raises((InvalidInputError, NotFoundError)):
            read(digest)
    assert list(tmp_path.glob("out/*")) == []


def test_a_blob_swapped_for_a_link_meanwhile_gives_its_own_bytes_or_none(store, tmp_path, outside):
    digest = store.put_bytes(b"mine").digest
    link = tmp_path / "link"
    link.symlink_to(outside / "passwd")
    found = set()
    with swapping(store.blobs.path(digest), link):
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            try:
                with store.open(digest) as stream:
                    found.add(stream.read())
            except InvalidInputError:
                found.add(b"refused")
    assert found == {b"mine", b"refused"}


def test_a_file_swapped_for_a_pipe_is_not_waited_for(store, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with pytest.raises(InvalidInputError, match="regular file"):
        store.put_file(tmp_path / "link")


def read_in_pieces(store: ArtifactStore, digest: str, pieces: list[bytes]) -> None:
    with store.open(digest) as stream:
        while piece := stream.read(50_000):
            pieces.append(piece)


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 5]
)
def test_reading_to_the_end_gives_all_bytes_or_an_error(store, size):
    content = os.urandom(size)
    digest = store.put_bytes(content).digest
    with store.open(digest) as stream:
        assert stream.read() == content
    pieces: list[bytes] = []
    read_in_pieces(store, digest, pieces)
    assert b"".join(pieces) == content
    if size:
        path = store.blobs.path(digest)
        path.chmod(0o644)
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        given: list[bytes] = []
        with pytest.raises(DigestMismatchError):
            read_in_pieces(store, digest, given)
        seen = b"".join(given)
        assert len(seen) < size
        assert content.startswith(seen)
