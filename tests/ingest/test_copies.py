"""Spools carried to another machine: taken in once, however often and wherever they are drained."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.errors import DigestMismatchError, NotFoundError
from mlwarehouse.ingest import copies
from mlwarehouse.ingest.copies import drain_copy
from mlwarehouse.ingest.drain import Drain
from mlwarehouse.ingest.overlay import fresh_reading
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_writer import SpoolWriter

POINTS = "SELECT run_id, key, step, value FROM metrics"
PARAMS = "SELECT run_id, key, value FROM param_events"


class Logged:
    """A spool that is logged to, and what was logged."""

    def __init__(self, path: Path) -> None:
        self.folder = SpoolFolder(path)
        self.folder.create()
        self.rows: Counter = Counter()
        self._step = 0
        self._writers: dict[str, SpoolWriter] = {}
        self._series: dict[str, dict] = {}

    def log(self, run: str, *, n: int = 5, param: bool = True) -> None:
        writer = self._writers.setdefault(run, SpoolWriter(self.folder))
        series = self._series.setdefault(run, writer.series_map())
        for _ in range(n):
            self._step += 1
            writer.put_point(series, "x", (run, 0), self._step, 0.5, 1)
            self.rows[(run, "x", self._step, 0.5)] += 1
        if param:
            self._step += 1
            writer.put_rows("param_events", {"run_id": run, "attempt": 0}, ["key", "value"], [[f"p{self._step}", "v"]])
            self.rows[(run, f"p{self._step}", "v")] += 1

    def end_segment(self, run: str) -> None:
        self._writers[run].close()

    def copy(self, to: Path) -> SpoolFolder:
        shutil.copytree(self.folder.path, to, dirs_exist_ok=True)
        return SpoolFolder(to)


def found(engine: EmbeddedEngine, reading=None) -> Counter:
    rows = [r for q in (POINTS, PARAMS) for r in engine.query(q, reading=reading).to_pylist()]
    return Counter(tuple(r.values()) for r in rows)


@pytest.fixture
def logged(tmp_path) -> Logged:
    return Logged(tmp_path / "a" / "spool")


@pytest.fixture
def engine(tmp_path):
    made = EmbeddedEngine(tmp_path / "tables")
    yield made
    made.close()


def test_a_copy_is_taken_in_once_and_the_spool_itself_after_it(logged, engine, tmp_path):
    logged.log("r")
    early = logged.copy(tmp_path / "early")
    logged.log("r")
    logged.log("s")
    late = logged.copy(tmp_path / "late")
    assert drain_copy(early, engine).n_rows == 6
    assert drain_copy(early, engine) == copies.CopyDrained(0, 0)
    assert drain_copy(late, engine).n_rows == 12
    assert drain_copy(early, engine).n_rows == 0
    assert found(engine) == logged.rows
    # The machine itself: it reads all once, and its own committer adds only what is new.
    logged.log("r")
    assert found(engine, fresh_reading(logged.folder, engine)) == logged.rows
    drain = Drain(logged.folder, engine)
    assert drain.step().n_rows == 6
    assert found(engine) == logged.rows
    logged.log("s")
    drain.step()
    assert found(engine) == logged.rows
    versions = engine.query("SELECT max(writer_seq) AS n FROM metrics").to_pylist()
    assert drain_copy(logged.copy(tmp_path / "last"), engine).n_rows == 0
    assert engine.query("SELECT max(writer_seq) AS n FROM metrics").to_pylist() == versions


def test_a_living_committer_notices_that_a_copy_was_drained(logged, engine, tmp_path):
    logged.log("r")
    drain = Drain(logged.folder, engine)
    drain.step()
    # Batches of one table leave the other's number behind: a copy must hold off all that come.
    for _ in range(3):
        logged.log("r", param=False)
        drain.step()
    logged.log("r")
    logged.log("s")
    elsewhere = EmbeddedEngine(tmp_path / "tables")
    assert drain_copy(logged.copy(tmp_path / "copy"), elsewhere).n_rows == 12
    logged.log("s")
    assert drain.step().has_more
    assert found(engine, fresh_reading(logged.folder, engine)) == logged.rows
    assert drain.step().n_rows == 6
    assert found(engine) == logged.rows
    logged.end_segment("r")
    logged.end_segment("s")
    drain.step()
    assert logged.folder.segments() == []
    assert found(engine, fresh_reading(logged.folder, engine)) == logged.rows


def test_a_committer_that_died_with_a_plan_does_not_take_a_copys_batch_for_its_own(
    logged, engine, tmp_path, monkeypatch
):
    logged.log("r")
    drain = Drain(logged.folder, engine)
    drain.step()
    early = logged.copy(tmp_path / "early")
    logged.log("r")
    middle = logged.copy(tmp_path / "middle")
    logged.log("s")

    def die(*_, **__):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "append", die)
        with pytest.raises(RuntimeError, match="killed"):
            drain.step()
    assert drain_copy(early, engine).n_rows == 0
    assert drain_copy(middle, engine).n_rows == 6
    assert found(engine, fresh_reading(logged.folder, engine)) == logged.rows
    Drain(logged.folder, engine).step()
    assert found(engine) == logged.rows


@pytest.mark.parametrize("moment", range(5))
def test_two_copies_drained_at_the_same_time_add_everything_once(logged, engine, tmp_path, monkeypatch, moment):
    logged.log("r")
    small = logged.copy(tmp_path / "small")
    logged.log("r")
    logged.log("s")
    large = logged.copy(tmp_path / "large")
    monkeypatch.setattr(copies, "BATCH_SLOTS", 8)
    other = EmbeddedEngine(tmp_path / "tables")
    engine.create_tables(copies.TABLES)
    calls = 0
    append = engine.append

    def interrupted(spec, rows, *, txns=()):
        nonlocal calls
        # The other one comes between two commits of this one: in its taking over, or in its batches.
        if calls == (0, 1, 7, len(copies.TABLES), len(copies.TABLES) + 1)[moment]:
            calls += 1
            drain_copy(large, other)
        calls += 1
        return append(spec, rows, txns=txns)

    monkeypatch.setattr(engine, "append", interrupted)
    monkeypatch.setattr(copies.random, "uniform", lambda *_: 0.0)
    drain_copy(small, engine)
    assert found(other) == logged.rows
    other.close()


def test_what_comes_after_a_gap_waits_for_a_whole_copy(logged, engine, tmp_path):
    for _ in range(3):
        logged.log("r")
        logged.end_segment("r")
    copy = logged.copy(tmp_path / "copy")
    first, second, _ = copy.segments()
    whole = second.read_bytes()
    second.write_bytes(whole[: len(whole) // 2])
    done = drain_copy(copy, engine)
    assert done.n_held_back == 1
    assert found(engine) < logged.rows
    first.unlink()
    second.unlink()
    # Only the last segment: what is missing before it may still come.
    assert drain_copy(copy, engine) == copies.CopyDrained(0, 1)
    logged.copy(tmp_path / "copy")
    assert drain_copy(copy, engine).n_held_back == 0
    assert found(engine) == logged.rows


def test_a_gap_is_skipped_when_that_is_asked_for(logged, engine, tmp_path):
    for _ in range(3):
        logged.log("r")
        logged.end_segment("r")
    copy = logged.copy(tmp_path / "copy")
    copy.segments()[1].unlink()
    assert drain_copy(copy, engine, skip_gaps=True) == copies.CopyDrained(12, 0)


def test_an_offline_machines_warehouse_is_taken_in_with_its_artifacts(tmp_path):
    offline = Warehouse(tmp_path / "laptop", committer="off", capture_code=False)
    with offline.start_run(experiment="e", run_name="away", tags={"k": "v"}) as run:
        run.log_metric("x", 1.0, 1)
        run.log_text("good", "vocab.txt")
    offline.close()
    home = Warehouse(tmp_path / "home", committer="off", capture_code=False)
    with home.start_run(experiment="e", run_name="here"):
        pass
    carried = tmp_path / "carried"
    shutil.copytree(tmp_path / "laptop", carried)
    told = []
    done = home.sync(carried, progress=told.append)
    assert (done.n_spools, done.n_files, done.n_missing_files, done.n_held_back) == (1, 1, 0, 0)
    assert done.n_rows == sum(told) > 0
    again = home.sync(carried)
    assert (again.n_rows, again.n_files) == (0, 0)
    rows = home.sql("SELECT run_name, experiment_name FROM runs ORDER BY run_name", output_format="arrow").to_pylist()
    assert rows == [{"run_name": n, "experiment_name": "e"} for n in ("away", "here")]
    assert len(home.search_experiments()) == 1
    assert home.download_artifacts(run.run_id, "vocab.txt", target=tmp_path / "back").read_text() == "good"

    command = [sys.executable, "-m", "mlwarehouse", "sync", "-w", str(home.root), "--spool", str(carried), "--json"]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert said == {"n_spools": 1, "n_rows": 0, "n_held_back": 0, "n_files": 0, "n_missing_files": 0}

    # Without the artifacts, the spool alone says what is missing; and a changed file is refused.
    other = Warehouse(tmp_path / "other", committer="off")
    other.create()
    (spool,) = (carried / "_spool").iterdir()
    alone = tmp_path / "alone"
    shutil.copytree(spool, alone)
    assert other.sync(alone).n_missing_files == 1
    (blob,) = (carried / "artifacts" / "blobs").glob("??/*")
    blob.chmod(0o644)
    blob.write_text("bad!")
    with pytest.raises(DigestMismatchError, match="changed on its way"):
        other.sync(carried)
    with pytest.raises(NotFoundError, match="There is no spool in"):
        other.sync(tmp_path / "out")
    home.close()
    other.close()
