"""Artifacts in an object store: parallel, resumed, in constant memory, and checked."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlwarehouse.artifacts import ArtifactStore, Stored
from mlwarehouse.artifacts.objects import ObjectBlobs
from mlwarehouse.errors import DigestMismatchError, InvalidInputError, NotFoundError, StorageError
from mlwarehouse.storage import ObjectStorage, objects


@pytest.fixture
def store(uri: str) -> ArtifactStore:
    return ArtifactStore.at(uri)


def many_files(folder: Path, n: int) -> dict[str, Path]:
    folder.mkdir()
    files = {}
    for i in range(n):
        path = folder / f"{i}.bin"
        path.write_bytes(hashlib.sha256(str(i).encode()).digest() * 300)
        files[path.name] = path
    return files


def blobs(store: ArtifactStore) -> set[str]:
    folder = ObjectStorage.at(store.blobs.uri).child("blobs")
    return {name for shard in folder.names() for name in folder.child(shard).names()}


def test_files_go_and_come_back(store, tmp_path):
    files = many_files(tmp_path / "in", 40)
    stored = store.put_files(files)
    digests = {name: s.digest for name, s in stored.items()}
    assert blobs(store) == set(digests.values())
    store.fetch({f"model/{name}": digest for name, digest in digests.items()}, tmp_path / "out")
    for name, path in files.items():
        assert (tmp_path / "out" / "model" / name).read_bytes() == path.read_bytes()
        assert digests[name] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert store.has(digests["0.bin"])
    assert not store.has("0" * 64)
    with pytest.raises(NotFoundError, match="0000"):
        store.open("0" * 64)
    with pytest.raises(NotFoundError):
        store.fetch({"a": "0" * 64}, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_an_upload_goes_on_where_it_was_broken_off(proxy, uri, tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "PATIENCE_S", 0.0)
    store = ArtifactStore.at(uri)
    files = many_files(tmp_path / "in", 30)
    left = iter(range(12))
    proxy.allows = lambda line: not line.startswith("PUT ") or next(left, None) is not None
    with pytest.raises(StorageError, match=r"^File `.*` couldn't be stored in `s3://"):
        store.put_files(files)
    there = blobs(store)
    assert 0 < len(there) < 30

    proxy.allows = lambda line: True
    proxy.requests.clear()
    stored = store.put_files(files)
    sent = [line for line in proxy.requests if line.startswith("PUT ")]
    # Of those that are missing one may be sent twice: a client tries again where the store is slow.
    assert len({line.partition("?")[0].partition(" HTTP")[0] for line in sent}) == 30 - len(there)
    assert not [line for line in sent if any(digest in line for digest in there)]
    assert blobs(store) == {s.digest for s in stored.values()}


def test_an_upload_survives_a_store_that_is_away_for_seconds(proxy, uri, tmp_path):
    store = ArtifactStore.at(uri)
    files = many_files(tmp_path / "in", 30)
    proxy.close()
    threading.Timer(1.5, proxy.open).start()
    stored = store.put_files(files)
    assert blobs(store) == {s.digest for s in stored.values()}
    proxy.close()
    threading.Timer(0.5, proxy.open).start()
    store.fetch({name: s.digest for name, s in stored.items()}, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 30


def test_a_download_that_is_cut_starts_again(proxy, uri, tmp_path):
    store = ArtifactStore.at(uri)
    stored = store.put_bytes(os.urandom(3_000_000))
    cuts = iter([True, True])
    proxy.swallows = lambda line: line.startswith("GET ") and stored.digest in line and next(cuts, False)
    store.fetch({"f": stored.digest}, tmp_path / "out")
    assert next(cuts, None) is None
    assert hashlib.sha256((tmp_path / "out" / "f").read_bytes()).hexdigest() == stored.digest


def test_a_tampered_blob_is_refused(store, tmp_path):
    stored = store.put_bytes(b"yes")
    ObjectStorage.at(store.blobs.uri).child("blobs").write(f"{stored.digest[:2]}/{stored.digest}", b"no!")
    with pytest.raises(DigestMismatchError):
        store.verify(stored.digest)
    with pytest.raises(DigestMismatchError):
        store.open(stored.digest).read()
    with pytest.raises(DigestMismatchError):
        store.fetch({"answer": stored.digest}, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


class Changing:
    """A file that has other bytes each time it is read, until it comes to rest."""

    def __init__(self, n_times: int) -> None:
        self._n_times, self._at, self.n_reads = n_times, 0, 0

    def seek(self, place: int) -> None:
        self._at = place

    def read(self, n: int) -> bytes:
        if self._at == 0:
            self.n_reads += 1
        chunk = bytes([min(self.n_reads, self._n_times)]) * min(n, 12_000_000 - self._at)
        self._at += len(chunk)
        return chunk


def test_a_file_that_changes_while_it_is_sent_is_sent_as_it_is_at_rest(uri):
    store = ObjectBlobs.at(uri)
    stored = store.put_file(Changing(3))
    assert stored == Stored(hashlib.sha256(bytes([3]) * 12_000_000).hexdigest(), 12_000_000)
    assert blobs(ArtifactStore(store)) == {stored.digest}
    with pytest.raises(StorageError, match="changed each of 3 times"):
        store.put_file(Changing(1000))
    assert blobs(ArtifactStore(store)) == {stored.digest}


MEMORY = """
import resource, sys
from pathlib import Path
from mlwarehouse.artifacts import ArtifactStore
store = ArtifactStore.at(sys.argv[1])
store.fetch({"w": store.put_bytes(b"warm").digest}, Path(sys.argv[3]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
stored = store.put_file(sys.argv[2])
store.fetch({"big": stored.digest}, Path(sys.argv[3]))
print(stored.size_bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_large_file_takes_little_memory(request, kind, tmp_path):
    place = str(tmp_path / "store") if kind == "local" else request.getfixturevalue("uri")
    big = tmp_path / "big.bin"
    with big.open("wb") as file:
        file.truncate(200_000_000)
    script = [sys.executable, "-c", MEMORY, place, str(big), str(tmp_path / "out")]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    size, grown_kib = map(int, done.stdout.split())
    assert size == 200_000_000
    assert grown_kib < 80_000
    assert (tmp_path / "out" / "big").stat().st_size == size


def test_a_store_of_another_package_is_found_by_its_scheme(tmp_path, monkeypatch):
    (tmp_path / "memo.py").write_text(
        "from mlwarehouse.artifacts.local import LocalBlobs\n"
        "def open_store(uri):\n"
        f"    return LocalBlobs.at('{tmp_path}/memo/' + uri.partition('://')[2])\n"
    )
    folder = tmp_path / "memo-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: memo\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[mlwarehouse.artifact_stores]\nmemo = memo:open_store\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    stored = ArtifactStore.at("memo://team/a").put_bytes(b"kept")
    assert (tmp_path / "memo" / "team" / "a" / "blobs" / stored.digest[:2] / stored.digest).read_bytes() == b"kept"
    with pytest.raises(
        InvalidInputError, match=r"no installed package has a store for `gs://`; there is file, memo, s3"
    ):
        ArtifactStore.at("gs://bucket/x")
