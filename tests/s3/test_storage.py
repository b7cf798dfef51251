"""One protocol, two storages: what holds for a local folder holds for a prefix in a bucket."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.storage import LocalStorage, ObjectStorage, Storage, objects, open_storage, read_many


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return LocalStorage(tmp_path / "wh")
    return open_storage(request.getfixturevalue("uri"))


def test_files_come_and_go(storage):
    assert storage.names() == []
    assert not storage.exists()
    storage.make()
    storage.create("a.json", b"one")
    storage.create("a.json", b"two")
    inner = storage.child("tables")
    inner.make()
    with inner.open_output("x y.parquet") as out:
        out.write(b"12345")
    inner.sync("x y.parquet")
    assert storage.names() == ["a.json", "tables"]
    assert storage.read("a.json") == b"one"
    assert storage.exists("a.json")
    assert storage.exists("tables")
    assert storage.child("tables").size("x y.parquet") == 5
    with inner.open_input("x y.parquet") as source:
        assert source.read() == b"12345"
    assert list(storage.files()) == ["a.json"]
    found = inner.files()["x y.parquet"]
    assert found == inner.info("x y.parquet")
    assert found.size == 5
    assert abs(found.modified_at - time.time()) < 60
    assert inner.parent.uri == storage.uri
    storage.write("a.json", b"three")
    assert read_many(storage, ["a.json", "b.json"]) == {"a.json": b"three", "b.json": None}
    assert storage.names() == ["a.json", "tables"]
    inner.delete("x y.parquet")
    inner.delete("x y.parquet")
    assert inner.info("x y.parquet") is None
    assert storage.child("nowhere").files() == {}
    assert inner.size("x y.parquet") is None
    with pytest.raises(FileNotFoundError):
        storage.read("b.json")


def test_what_needs_a_local_folder_says_so(uri, tmp_path):
    assert LocalStorage(tmp_path).folder("Spark") == tmp_path
    with pytest.raises(InvalidInputError, match=r"^Spark needs a local folder, and `s3://.*` is in an object store"):
        open_storage(uri).folder("Spark")


@pytest.mark.parametrize(
    "address",
    [
        "s3://",
        "s3:///x",
        "s3://b/../c",
        "s3://b//c",
        "s3://b/c?x=1",
        "s3://b/%2e%2e",
        "s3://b/a\nb",
        "gs://b/c",
        "s4://b",
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(address):
    with pytest.raises(InvalidInputError, match=r"^The address `.*[.?]$"):
        open_storage(address)


def test_plain_http_is_used_only_when_it_is_meant(environment, uri):
    environment.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(InvalidInputError, match="AWS_ALLOW_HTTP=true"):
        open_storage(uri)
    environment.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(InvalidInputError, match="begins with https://"):
        open_storage(uri)


@pytest.mark.parametrize("size", [10, 12_000_000])
def test_an_upload_that_is_broken_off_leaves_nothing_to_see(uri, size):
    storage = open_storage(uri)

    def upload() -> None:
        with storage.open_output("model.bin") as out:
            out.write(bytes(size))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload()
    gc.collect()
    assert storage.size("model.bin") is None
    assert storage.names() == []


def test_nor_does_the_end_of_the_process_complete_it(uri):
    script = (
        "import sys; from contextlib import suppress; from mlwarehouse.storage import open_storage\n"
        "storage = open_storage(sys.argv[1])\n"
        "with suppress(ZeroDivisionError), storage.open_output('model.bin') as out:\n"
        "    out.write(bytes(12_000_000)); 1 / 0\n"
        "storage.create('done', b'')"
    )
    subprocess.run([sys.executable, "-c", script, uri], check=True)
    assert open_storage(uri).names() == ["done"]


def _write(uri: str) -> None:
    open_storage(uri).child("child").create("file", b"child")
    # Not by the interpreter's own end, as forks of data loaders leave.
    os._exit(0)


def test_a_forked_process_uses_connections_of_its_own(uri):
    storage = open_storage(uri)
    storage.create("file", b"parent")
    child = multiprocessing.get_context("fork").Process(target=_write, args=(uri,))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert storage.child("child").read("file") == b"child"
    assert storage.read("file") == b"parent"


def test_a_store_that_is_away_for_a_moment_is_waited_for(proxy, uri):
    storage = open_storage(uri)
    storage.create("file", b"text")
    cuts = iter([True] * 5)
    proxy.allows = lambda line: not next(cuts, False)
    assert storage.read("file") == b"text"
    assert next(cuts, None) is None


def test_a_store_that_stays_away_is_an_error_after_a_while(proxy, uri, monkeypatch):
    monkeypatch.setattr(objects, "PATIENCE_S", 0.3)
    storage = ObjectStorage.at(uri)
    proxy.close()
    with pytest.raises(OSError, match="NETWORK_CONNECTION"):
        storage.read("file")


def test_a_store_that_refuses_is_not_asked_again(proxy, environment, uri):
    environment.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    storage = open_storage(uri)
    with pytest.raises(OSError, match=r"ACCESS_DENIED|403"):
        storage.size("file")
    assert len(proxy.requests) <= 2
