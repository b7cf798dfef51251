"""An artifact store that refuses: training goes on, what can wait is stored later, and the rest is counted."""

from __future__ import annotations

import os
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch

from mlwarehouse import Warehouse
from mlwarehouse.artifacts import ArtifactStore
from mlwarehouse.errors import InvalidInputError, NotFoundError
from mlwarehouse.ingest import shelf as shelves
from mlwarehouse.ingest.shelf import Shelf

REFUSED = "can't store artifacts"
HEALED = "again, and what waited is there"
LOST = "mlwarehouse lost"


@pytest.fixture
def warehouse(tmp_path, small_disk, monkeypatch):
    """One whose artifacts are on a small disk, and the rest on another."""
    monkeypatch.setattr(shelves, "RETRY_S", 0.0)
    made = Warehouse(tmp_path / "wh", artifacts_uri=str(small_disk.path / "store"), capture_code=False, committer="off")
    yield made
    made.close()


@contextmanager
def told():
    """The warnings that are given within."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        messages: list[str] = []
        yield messages
    messages += [str(w.message) for w in found]


def kept(warehouse: Warehouse, run_id: str) -> dict[str, bytes]:
    """A run's artifacts, as anybody gets them."""
    warehouse.flush()
    rows = warehouse.sql(
        "SELECT path, digest FROM artifacts WHERE run_id = $run", parameters={"run": run_id}, output_format="arrow"
    ).to_pylist()
    return {row["path"]: warehouse.artifact_store().open(row["digest"]).read() for row in rows}


def losses(warehouse: Warehouse) -> int:
    return warehouse.doctor().spool.n_lost


@pytest.mark.parametrize("refusal", ["full", "read-only"])
def test_a_store_that_refuses_for_a_while_gets_everything(warehouse, small_disk, tmp_path, refusal):
    (tmp_path / "data.bin").write_bytes(os.urandom(100_000))
    (tmp_path / "folder" / "in").mkdir(parents=True)
    (tmp_path / "folder" / "in" / "a.txt").write_text("a")
    with told() as said, warehouse.start_run(experiment="e") as run:
        run.log_text("before", "before.txt")
        small_disk.fill() if refusal == "full" else small_disk.remount("ro")
        run.log_artifact(tmp_path / "data.bin")
        run.log_artifacts(tmp_path / "folder")
        run.log_text("text", "note.txt")
        run.log_dict({"x": 1}, "x.json")
        warehouse.log_model(torch.nn.Linear(2, 1), "model", init_args={"in_features": 2, "out_features": 1})
        run.log_metric("loss", 0.5, 1)
        small_disk.free() if refusal == "full" else small_disk.remount("rw")
    assert [REFUSED in said[0], HEALED in said[1], len(said)] == [True, True, 2]
    found = kept(warehouse, run.run_id)
    assert found["data.bin"] == (tmp_path / "data.bin").read_bytes()
    assert (found["in/a.txt"], found["note.txt"], found["before.txt"]) == (b"a", b"text", b"before")
    assert {"x.json", "model/MLmodel"} <= found.keys()
    assert losses(warehouse) == 0
    warehouse.load_model(f"runs:/{run.run_id}/model")


def test_a_model_whose_files_wait_is_not_registered_and_training_goes_on(warehouse, small_disk):
    with told() as said, warehouse.start_run(experiment="e") as run:
        small_disk.fill()
        arguments = {"in_features": 2, "out_features": 1}
        logged = warehouse.log_model(torch.nn.Linear(2, 1), init_args=arguments, registered_model_name="m")
        small_disk.free()
    assert f"call `register_model('runs:/{run.run_id}/model', 'm')`" in said[1]
    assert [REFUSED in said[0], HEALED in said[2], len(said)] == [True, True, 3]
    warehouse.flush()
    assert str(warehouse.register_model(logged.model_uri, "m").version) == "1"


def test_the_keeper_stores_what_waits_while_the_run_goes_on(warehouse, small_disk):
    with told() as said, warehouse.start_run(experiment="e") as run:
        small_disk.fill()
        run.log_text("text", "note.txt")
        small_disk.free()
        deadline = time.monotonic() + 20
        while warehouse.recorder._shelf._waiting and time.monotonic() < deadline:
            time.sleep(0.05)
        assert kept(warehouse, run.run_id) == {"note.txt": b"text"}
    assert HEALED in said[1]


def test_what_is_refused_to_the_end_is_counted_and_told(warehouse, small_disk, tmp_path):
    (tmp_path / "data.bin").write_bytes(b"x" * 5000)
    with told() as said, warehouse.start_run(experiment="e") as run:
        small_disk.fill()
        run.log_artifact(tmp_path / "data.bin")
        run.log_text("text", "note.txt")
    assert [REFUSED in said[0], LOST in said[1], len(said)] == [True, True, 2]
    assert "2 artifacts" in said[1]
    assert "`data.bin`, `note.txt`" in said[1]
    assert losses(warehouse) == 2
    (damage,) = [d for d in warehouse.doctor().damages if d.kind == "lost rows"]
    assert "2 rows of `artifact_events` were lost" in damage.what
    assert "refused them until the run ended" in damage.what
    runs = warehouse.search_runs(experiment_names=["e"])
    assert list(runs["status"]) == ["FINISHED"]
    small_disk.free()
    with told() as said, warehouse.start_run(experiment="e") as run:
        run.log_text("text", "note.txt")
    assert kept(warehouse, run.run_id) == {"note.txt": b"text"}


def test_a_file_that_changes_while_it_waits_is_not_taken_for_what_was_logged(warehouse, small_disk, tmp_path):
    path, gone = tmp_path / "model.pt", tmp_path / "gone.pt"
    path.write_bytes(b"x" * 5000)
    gone.write_bytes(b"x" * 5000)
    with told() as said, warehouse.start_run(experiment="e") as run:
        small_disk.fill()
        run.log_artifact(path)
        run.log_artifact(gone)
        path.write_bytes(b"y" * 5001)
        gone.unlink()
        small_disk.free()
    assert [REFUSED in said[0], LOST in said[1], LOST in said[2]] == [True, True, True]
    assert kept(warehouse, run.run_id) == {}
    assert losses(warehouse) == 2


def test_of_several_under_one_name_the_last_counts(warehouse, small_disk):
    with told(), warehouse.start_run(experiment="e") as run:
        small_disk.fill()
        run.log_text("first", "note.txt")
        small_disk.free()
        # There is room again, and the first one still waits.
        run.log_text("second", "note.txt")
        run.log_text("other", "other.txt")
    assert kept(warehouse, run.run_id) == {"note.txt": b"second", "other.txt": b"other"}


def test_what_is_too_much_to_wait_in_memory_is_counted(warehouse, small_disk, monkeypatch):
    monkeypatch.setattr(shelves, "MEMORY_BYTES", 1000)
    monkeypatch.setattr(shelves, "MOST_FILES", 3)
    with told() as said, warehouse.start_run(experiment="e") as run:
        small_disk.fill()
        for n in range(3):
            run.log_text(str(n) * 400, f"{n}.txt")
        for n in range(3, 6):
            run.log_text(str(n), f"{n}.txt")
        small_disk.free()
    assert sum(LOST in s for s in said) == 3
    assert kept(warehouse, run.run_id).keys() == {"0.txt", "1.txt", "3.txt"}
    assert losses(warehouse) == 3


def test_a_loss_that_cannot_be_written_down_is_written_down_later(tmp_path, small_disk, monkeypatch):
    """Spool and store are on the same disk."""
    monkeypatch.setattr(shelves, "RETRY_S", 0.0)
    warehouse = Warehouse(small_disk.path / "wh", capture_code=False, committer="off")
    with told() as said:
        with warehouse.start_run(experiment="e") as run:
            small_disk.fill()
            run.log_text("text", "note.txt")
        assert warehouse.recorder.folder.losses() == []
        small_disk.free()
        with warehouse.start_run(experiment="e"):
            pass
    assert any(LOST in s for s in said)
    assert losses(warehouse) == 1
    warehouse.close()


def test_what_is_wrong_with_the_file_itself_still_raises(warehouse, small_disk, tmp_path):
    (tmp_path / "good").write_text("x" * 5000)
    with told(), warehouse.start_run(experiment="e") as run:
        small_disk.fill()
        with pytest.raises(NotFoundError, match="no such file"):
            run.log_artifact(tmp_path / "nothing")
        with pytest.raises(InvalidInputError):
            run.log_text("text", "../note.txt")
        with pytest.raises(NotFoundError):
            run.log_files({"good": tmp_path / "good", "nothing": tmp_path / "nothing"})
        assert warehouse.recorder._shelf._waiting == []
        small_disk.free()
    assert losses(warehouse) == 0


def test_a_training_is_not_kept_waiting_for_the_same_answer(warehouse, small_disk, tmp_path, monkeypatch):
    monkeypatch.setattr(shelves, "RETRY_S", 1000.0)
    asked = []
    with told() as said, warehouse.start_run(experiment="e") as run:
        small_disk.fill()
        run.log_text("0", "0.txt")
        real = ArtifactStore.put_bytes
        monkeypatch.setattr(ArtifactStore, "put_bytes", lambda *a: (asked.append(a), real(*a))[1])
        for n in range(1, 5):
            run.log_text(str(n), f"{n}.txt")
        with pytest.raises(NotFoundError):
            run.log_files({"nothing": tmp_path / "nothing"})
        assert asked == []
        small_disk.free()
    assert [REFUSED in said[0], HEALED in said[1], len(said)] == [True, True, 2]
    assert kept(warehouse, run.run_id) == {f"{n}.txt": str(n).encode() for n in range(5)}


def test_a_fork_leaves_what_waits_to_its_parent(warehouse, small_disk):
    with told(), warehouse.start_run(experiment="e") as run:
        small_disk.fill()
        run.log_text("parent", "parent.txt")
        child = os.fork()
        if child == 0:
            try:
                warnings.simplefilter("ignore")
                run.log_text("child", "child.txt")
                small_disk.free()
                run.end()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    assert kept(warehouse, run.run_id) == {"parent.txt": b"parent", "child.txt": b"child"}


class Notes:
    """Whose files are stored, in a test of threads."""

    def __init__(self, number: int) -> None:
        self.run_id = f"run-{number}"
        self.found: dict[str, str] = {}

    def put_artifacts(self, kind, stored) -> None:
        self.found |= {name: s.digest for name, s in stored.items()}


def test_threads_beside_a_store_that_comes_and_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(shelves, "RETRY_S", 0.0)
    place = tmp_path / "store"
    store = ArtifactStore(place)
    losses = []

    class Folder:
        def note_loss(self, *what) -> None:
            losses.append(what)

    shelf = Shelf(store, Folder())
    owners = [Notes(n) for n in range(4)]
    is_over = threading.Event()

    def work(owner: Notes) -> None:
        for n in range(100):
            shelf.keep(owner, "file", {f"{n % 50}.txt": f"{owner.run_id} {n}".encode()})

    def come_and_go() -> None:
        while not is_over.wait(0.002):
            if place.is_file():
                place.unlink()
            elif place.exists():
                place.rename(tmp_path / f"away-{time.monotonic_ns()}")
                # The others may have made it anew.
                with suppress(OSError):
                    place.write_text("in the way")
            shelf.retry()

    threads = [threading.Thread(target=work, args=(owner,)) for owner in owners]
    other = threading.Thread(target=come_and_go)
    with told():
        for thread in [*threads, other]:
            thread.start()
        for thread in threads:
            thread.join()
        is_over.set()
        other.join()
        if place.is_file():
            place.unlink()
        for owner in owners:
            shelf.finish(owner)
    blobs = {p.name: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and len(p.name) == 64}
    for owner in owners:
        content = {name: blobs[digest].decode() for name, digest in owner.found.items()}
        assert content == {f"{n}.txt": f"{owner.run_id} {n + 50}" for n in range(50)}
    assert losses == []
    assert Path(place).is_dir()
