"""The content-addressed store: once, whole, checked, and safe from its readers."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mlwarehouse.artifacts import ArtifactStore, package_digest
from mlwarehouse.errors import DigestMismatchError, InvalidInputError, NotFoundError


def blobs(store: ArtifactStore) -> list[str]:
    return sorted(p.name for p in (store.blobs.root / "blobs").rglob("*") if p.is_file())


def damage(store: ArtifactStore, digest: str, content: bytes) -> None:
    path = store.blobs.path(digest)
    path.chmod(0o644)
    path.write_bytes(content)


def test_a_file_is_stored_under_its_digest_and_read_back(store, tmp_path):
    content = os.urandom(3 * 1024 * 1024 + 7)
    file = tmp_path / "weights.bin"
    file.write_bytes(content)

    stored = store.put_file(file)

    assert stored.digest == hashlib.sha256(content).hexdigest()
    assert stored.size_bytes == len(content)
    assert store.blobs.path(stored.digest) == store.blobs.root / "blobs" / stored.digest[:2] / stored.digest
    with store.open(stored.digest) as stream:
        assert stream.read() == content
    assert store.verify(stored.digest) == stored


def test_equal_bytes_are_stored_once_and_not_written_again(store):
    first = store.put_bytes(b"labels")
    inode = store.blobs.path(first.digest).stat().st_ino
    assert store.put_bytes(b"labels") == first
    assert store.blobs.path(first.digest).stat().st_ino == inode
    assert blobs(store) == [first.digest]


def test_a_truncated_blob_is_mended_by_storing_the_file_again(store):
    stored = store.put_bytes(b"labels")
    damage(store, stored.digest, b"lab")
    store.put_bytes(b"labels")
    assert store.verify(stored.digest) == stored


def test_an_empty_file_is_a_file(store):
    stored = store.put_bytes(b"")
    assert stored.size_bytes == 0
    assert store.verify(stored.digest) == stored


def test_what_is_not_a_file_is_refused(store, tmp_path):
    with pytest.raises(NotFoundError, match=r"no file .*missing"):
        store.put_file(tmp_path / "missing")
    with pytest.raises(InvalidInputError, match="regular file"):
        store.put_file(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInputError, match="regular file"):
        store.put_file(tmp_path / "pipe")


@pytest.mark.parametrize("digest", ["", "..", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_a_digest_names_a_blob(store, digest):
    with pytest.raises(InvalidInputError, match="digest"):
        store.open(digest)


def test_an_unknown_digest_is_not_found(store):
    with pytest.raises(NotFoundError, match="0000"):
        store.verify("0" * 64)


def test_a_changed_blob_is_refused_and_leaves_no_file(store, tmp_path):
    stored = store.put_bytes(b"yes")
    damage(store, stored.digest, b"no!")
    with pytest.raises(DigestMismatchError, match=stored.digest):
        store.verify(stored.digest)
    with pytest.raises(DigestMismatchError):
        store.fetch({"answer.txt": stored.digest}, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(DigestMismatchError):
        store.materialise({"answer.txt": stored.digest}, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_editing_a_fetched_file_does_not_reach_the_store(store, tmp_path):
    stored = store.put_bytes(b"original")
    store.fetch({"a/b.txt": stored.digest, "c.txt": stored.digest}, tmp_path / "out")
    for path in ("a/b.txt", "c.txt"):
        (tmp_path / "out" / path).write_bytes(b"edited!!")
    assert store.verify(stored.digest) == stored


def test_fetch_replaces_a_link_instead_of_writing_through_it(store, tmp_path):
    stored = store.put_bytes(b"new")
    (tmp_path / "elsewhere").write_bytes(b"old")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "f").symlink_to(tmp_path / "elsewhere")
    store.fetch({"f": stored.digest}, tmp_path / "out")
    assert (tmp_path / "elsewhere").read_bytes() == b"old"
    assert (tmp_path / "out" / "f").read_bytes() == b"new"


@pytest.mark.parametrize("paths", [("../x",), ("/x",), ("a", "a/b"), ("a/b/c", "a")])
def test_fetch_refuses_paths_that_do_not_fit_in_one_folder(store, tmp_path, paths):
    stored = store.put_bytes(b"x")
    with pytest.raises(InvalidInputError):
        store.fetch(dict.fromkeys(paths, stored.digest), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_package_digest_is_that_of_sha256sum_lines():
    one, two = "1" * 64, "2" * 64
    text = f"{one}  a\n{two}  b\n"
    assert package_digest({"b": two, "a": one}) == hashlib.sha256(text.encode()).hexdigest()
    assert package_digest({"a": two, "b": one}) != package_digest({"b": two, "a": one})


def test_a_materialised_folder_is_made_once_and_mended_when_a_file_is_gone(store, tmp_path):
    files = {"MLmodel": store.put_bytes(b"m").digest, "extra/v.txt": store.put_bytes(b"v").digest}
    folder = store.materialise(files, tmp_path / "cache")
    assert folder == tmp_path / "cache" / package_digest(files)
    inode = folder.stat().st_ino
    assert store.materialise(files, tmp_path / "cache").stat().st_ino == inode

    (folder / "extra" / "v.txt").unlink()
    assert store.materialise(files, tmp_path / "cache") == folder
    assert (folder / "extra" / "v.txt").read_bytes() == b"v"
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [folder.name]


def _put_and_materialise(root: str, file: str, cache: str, results) -> None:
    store = ArtifactStore(Path(root))
    for _ in range(20):
        stored = store.put_file(file)
        folder = store.materialise({"f": stored.digest}, Path(cache))
    results.put((stored.digest, (folder / "f").read_bytes() == Path(file).read_bytes()))


def test_two_processes_store_and_materialise_the_same_file(store, tmp_path):
    file = tmp_path / "f"
    file.write_bytes(os.urandom(100_000))
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = (str(store.blobs.root), str(file), str(tmp_path / "cache"), results)
    processes = [context.Process(target=_put_and_materialise, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    answers = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert answers == [(digest, True)] * 2
    assert blobs(store) == [digest]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_writer_killed_half_way_leaves_nothing_that_is_read(store, tmp_path):
    # The writer stops for ever after its first chunk, as a slow disk would have it, and is killed there.
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from mlwarehouse.artifacts.local import LocalBlobs

        class Stuck:
            chunks = 0
            def read(self, n):
                self.chunks += 1
                if self.chunks > 1:
                    print("half", flush=True)
                    time.sleep(600)
                return b"x" * n

        LocalBlobs(Path(sys.argv[1])).put_file(Stuck())
    """)
    process = subprocess.Popen([sys.executable, "-c", script, str(store.blobs.root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()

    (left,) = blobs(store)
    assert left.startswith(".partial.")
    content = b"x" * (2 * 1024 * 1024)
    file = tmp_path / "whole"
    file.write_bytes(content)
    stored = store.put_file(file)
    assert store.verify(stored.digest) == stored
    assert sorted(blobs(store)) == sorted([left, stored.digest])


def test_storing_needs_only_the_standard_library():
    script = (
        "import sys; import mlwarehouse.artifacts; "
        "heavy = {'numpy', 'pandas', 'pyarrow', 'deltalake', 'duckdb', 'torch', 'yaml'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
