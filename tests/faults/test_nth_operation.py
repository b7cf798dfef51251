"""A committer that dies at its Nth file operation, for every N: afterwards all is there once, or will be."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.ingest.drain import Drain
from mlwarehouse.ingest.overlay import fresh_reading
from mlwarehouse.ingest.plan import Plan, read_plan
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_writer import SpoolWriter
from tests.faults.conftest import Killed, dying_after

POINTS = "SELECT run_id, key, step, value FROM metrics"
PARAMS = "SELECT run_id, key, value FROM param_events"


def log(writer: SpoolWriter, run: str, first: int, logged: Counter) -> None:
    series = writer.series_map()
    for step in range(first, first + 5):
        writer.put_point(series, "x", (run, 0), step, float(step), 1)
        logged[(run, "x", step, float(step))] += 1
    writer.put_rows("param_events", {"run_id": run, "attempt": 0}, ["key", "value"], [[f"p{first}", "v"]])
    logged[(run, f"p{first}", "v")] += 1


def found(engine: EmbeddedEngine, reading=None) -> Counter:
    rows = [r for q in (POINTS, PARAMS) for r in engine.query(q, reading=reading).to_pylist()]
    return Counter(tuple(r.values()) for r in rows)


@pytest.fixture
def prepared(tmp_path):
    """A spool with everything a pass deals with: a committed and spent segment, a half-committed one, a new one."""
    folder = SpoolFolder(tmp_path / "before" / "spool")
    folder.create()
    engine = EmbeddedEngine(tmp_path / "before" / "tables")
    logged: Counter = Counter()
    spent, living, new = SpoolWriter(folder), SpoolWriter(folder), SpoolWriter(folder)
    log(spent, "spent", 0, logged)
    log(living, "living", 0, logged)
    spent.close()
    Drain(folder, engine).step()
    log(living, "living", 5, logged)
    log(new, "new", 0, logged)
    living.close()
    new.close()
    engine.close()
    return tmp_path / "before", logged


def test_every_death_of_a_pass_leaves_all_once(prepared, tmp_path):
    before, logged = prepared
    allowed = 0
    survived = False
    while not survived:
        place = tmp_path / f"after-{allowed}"
        shutil.copytree(before, place)
        folder = SpoolFolder(place / "spool")
        engine = EmbeddedEngine(place / "tables")
        drain = Drain(folder, engine)
        with dying_after(allowed):
            try:
                drain.step()
                drain.step()
                survived = True
            except Killed:
                pass
        # Another process comes: what it reads, and what it commits.
        after = EmbeddedEngine(place / "tables")
        assert found(after, fresh_reading(folder, after)) == logged, allowed
        again = Drain(folder, after)
        again.step()
        again.step()
        assert found(after) == logged, allowed
        assert folder.segments() == [], allowed
        assert folder.losses() == [], allowed
        engine.close()
        after.close()
        shutil.rmtree(place)
        allowed += 1
    # Fewer would mean that the operations weren't seen.
    assert allowed > 25


@pytest.mark.parametrize("damage", ["missing", "torn", "of another time", "of another spool"])
def test_a_lost_plan_is_found_again_in_the_tables(prepared, damage):
    place, logged = prepared
    folder = SpoolFolder(place / "spool")
    engine = EmbeddedEngine(place / "tables")
    old = folder.plan_path.read_bytes()
    Drain(folder, engine).step()
    late = SpoolWriter(folder)
    log(late, "late", 0, logged)
    if damage == "missing":
        folder.plan_path.unlink()
    elif damage == "torn":
        folder.plan_path.write_bytes(folder.plan_path.read_bytes()[:20])
    elif damage == "of another time":
        folder.plan_path.write_bytes(old)
    else:
        (folder.path / "spool.json").unlink()
        folder.create()
    if damage in ("missing", "of another time"):
        assert found(engine, fresh_reading(folder, engine)) == logged
    drain = Drain(folder, engine)
    drain.step()
    assert found(engine) == logged
    log(late, "late", 5, logged)
    drain.step()
    late.close()
    drain.step()
    assert found(engine) == logged
    assert folder.segments() == []
    engine.close()


def test_rows_that_vanished_from_a_planned_batch_are_told(prepared, monkeypatch):
    place, _ = prepared
    folder = SpoolFolder(place / "spool")
    engine = EmbeddedEngine(place / "tables")
    drain = Drain(folder, engine)

    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(engine, "append", die)
        with pytest.raises(Killed):
            drain.step()
    plan = read_plan(folder)
    for path in folder.segments():
        if plan.after.get(path.name, 0) > plan.before.get(path.name, 0):
            path.unlink()
    Drain(folder, engine)
    losses = folder.losses()
    assert {loss["table"]: loss["n_rows"] for loss in losses} == dict(plan.rows)
    engine.close()


def test_what_waited_long_is_committed_in_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("mlwarehouse.ingest.drain.BATCH_SLOTS", 10)
    folder = SpoolFolder(tmp_path / "spool")
    folder.create()
    engine = EmbeddedEngine(tmp_path / "tables")
    logged: Counter = Counter()
    for run in "abcdef":
        writer = SpoolWriter(folder)
        log(writer, run, 0, logged)
        writer.close()
    drain = Drain(folder, engine)
    batches = []
    while not batches or batches[-1].has_more:
        batches.append(drain.step())
    assert len(batches) > 2
    assert max(b.n_rows for b in batches) < sum(logged.values())
    drain.step()
    assert found(engine) == logged
    assert folder.segments() == []
    engine.close()


def test_a_plan_round_trips(tmp_path):
    folder = SpoolFolder(tmp_path / "spool")
    folder.create()
    plan = Plan(3, 5, {"a": 4}, {"a": 9}, {"1": "2"}, {"metrics": 5}, {"metrics": {"w": 7}}, "spool:x")
    plan.write(folder)
    assert read_plan(folder) == plan
    assert Path(folder.plan_path).exists()
