"""From spool to tables, exactly once, and read together at every moment.

``MLWAREHOUSE_SOAK=1`` tries five thousand histories, or ``MLWAREHOUSE_SOAK_EXAMPLES``.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from deltalake import DeltaTable
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.ingest import drain as drain_module
from mlwarehouse.ingest import overlay
from mlwarehouse.ingest.drain import Drain
from mlwarehouse.ingest.overlay import fresh_reading
from mlwarehouse.ingest.plan import read_plan
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_writer import SpoolWriter
from mlwarehouse.tables import TABLES

ALL_POINTS = "SELECT run_id, key, step, value FROM metrics"


class Crash(Exception):
    """Stands for the death of a committer."""


class DyingEngine(EmbeddedEngine):
    """Dies after a number of appends."""

    def __init__(self, folder: Path, appends: int) -> None:
        super().__init__(folder)
        self._left = appends

    def append(self, spec, rows, *, txns=()):
        if self._left == 0:
            raise Crash
        self._left -= 1
        return super().append(spec, rows, txns=txns)


def seen(engine: EmbeddedEngine, folder: SpoolFolder) -> Counter:
    rows = engine.query(ALL_POINTS, reading=fresh_reading(folder, engine)).to_pylist()
    return Counter(tuple(r.values()) for r in rows)


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    """Empty tables, made once: making eleven takes longer than a whole example."""
    place = tmp_path_factory.mktemp("empty") / "tables"
    EmbeddedEngine(place).create_tables(TABLES)
    return place


class Warehousing(RuleBasedStateMachine):
    """Writers log, roll over and end; committers drain and die half-way; what is read is always what was logged."""

    template: Path
    places: object

    @initialize()
    def start(self):
        import shutil

        self.root = self.places.mktemp("machine")
        shutil.copytree(self.template, self.root / "tables")
        self.folder = SpoolFolder(self.root / "spool")
        self.folder.create()
        self.engine = EmbeddedEngine(self.root / "tables")
        self.writers = [SpoolWriter(self.folder), SpoolWriter(self.folder)]
        self.series = [w.series_map() for w in self.writers]
        self.logged: Counter = Counter()
        self.params = 0

    @rule(
        who=st.integers(0, 1),
        run=st.sampled_from("ab"),
        n=st.integers(1, 5),
        key=st.sampled_from(["x", "y"]),
        step=st.integers(0, 9),
    )
    def log(self, who, run, n, key, step):
        for i in range(n):
            self.writers[who].put_point(self.series[who], (key, run), (run, 0), step + i, float(i), 5)
            self.logged[(run, key, step + i, float(i))] += 1

    @rule(who=st.integers(0, 1))
    def log_param(self, who):
        self.writers[who].put_rows(
            "param_events", {"run_id": "a", "attempt": 0}, ["key", "value"], [[f"p{self.params}", "v"]]
        )
        self.params += 1

    @rule(who=st.integers(0, 1))
    def end_segment(self, who):
        self.writers[who].close()

    @rule()
    def commit(self):
        Drain(self.folder, self.engine).step()

    @rule(appends=st.integers(0, 3))
    def die_while_committing(self, appends):
        with contextlib.suppress(Crash):
            Drain(self.folder, DyingEngine(self.root / "tables", appends)).step()

    @invariant()
    def what_is_read_is_what_was_logged(self):
        if hasattr(self, "logged"):
            assert seen(self.engine, self.folder) == self.logged
            params = self.engine.query(
                "SELECT count(*) AS n FROM param_events", reading=fresh_reading(self.folder, self.engine)
            )
            assert params.column("n")[0].as_py() == self.params

    def teardown(self):
        if hasattr(self, "engine"):
            Drain(self.folder, self.engine).step()
            committed = self.engine.query(ALL_POINTS).to_pylist()
            assert Counter(tuple(r.values()) for r in committed) == self.logged
            self.engine.close()


def test_read_is_logged_at_every_moment(tables, tmp_path_factory):
    from hypothesis.stateful import run_state_machine_as_test

    Warehousing.template = tables
    Warehousing.places = tmp_path_factory
    n = int(os.environ.get("MLWAREHOUSE_SOAK_EXAMPLES", "5000")) if os.environ.get("MLWAREHOUSE_SOAK") else 15
    run_state_machine_as_test(Warehousing, settings=settings(max_examples=n, stateful_step_count=15, deadline=None))


def test_finished_segments_go_when_they_are_committed(folder, tmp_path):
    engine = EmbeddedEngine(tmp_path / "tables")
    writer = SpoolWriter(folder)
    writer.put_point(writer.series_map(), "x", ("a", 0), 1, 1.0, 1)
    drain = Drain(folder, engine)
    assert drain.step().n_rows == 1
    assert len(folder.segments()) == 1
    writer.close()
    drain.step()
    assert folder.segments() == []
    assert engine.query("SELECT count(*) AS n FROM metrics").to_pylist() == [{"n": 1}]


def test_one_commit_a_table_for_everybody(folder, tmp_path):
    engine = EmbeddedEngine(tmp_path / "tables")
    for run in "abcd":
        writer = SpoolWriter(folder)
        writer.put_point(writer.series_map(), "x", (run, 0), 1, 1.0, 1)
        writer.put_rows("param_events", {"run_id": run, "attempt": 0}, ["key", "value"], [["k", "v"]])
    drained = Drain(folder, engine).step()
    assert (drained.n_rows, drained.n_commits, drained.n_live) == (8, 2, 4)
    assert DeltaTable(tmp_path / "tables" / "metrics").version() == 1


def test_recorded_times_grow_when_the_clock_jumps_back(folder, tmp_path, monkeypatch):
    engine = EmbeddedEngine(tmp_path / "tables")
    writer = SpoolWriter(folder)
    series = writer.series_map()
    drain = Drain(folder, engine)
    now = [2_000_000_000_000_000_000]
    monkeypatch.setattr(drain_module.time, "time_ns", lambda: now[0])
    for step in range(3):
        writer.put_point(series, "x", ("a", 0), step, 1.0, 1)
        drain.step()
        now[0] -= 86_400 * 10**9
    rows = engine.query("SELECT step, recorded_at FROM metrics ORDER BY recorded_at").to_pylist()
    assert [r["step"] for r in rows] == [0, 1, 2]
    assert len({r["recorded_at"] for r in rows}) == 3


def test_an_experiment_that_has_the_name_keeps_its_id(folder, tmp_path):
    engine = EmbeddedEngine(tmp_path / "tables")
    writer = SpoolWriter(folder)

    def create(experiment_id: str, name: str, run_id: str) -> None:
        writer.put_rows("experiment_events", {"experiment_id": experiment_id, "kind": "created"}, ["name"], [[name]])
        writer.put_rows(
            "run_events",
            {"run_id": run_id, "experiment_id": experiment_id, "attempt": 0},
            ["kind", "status"],
            [["started", "RUNNING"]],
        )

    create("3", "imported", "r1")
    drain = Drain(folder, engine)
    drain.step()
    create("99", "imported", "r2")
    question = "SELECT run_id, experiment_id, experiment_name FROM runs ORDER BY run_id"
    expected = [{"run_id": r, "experiment_id": "3", "experiment_name": "imported"} for r in ("r1", "r2")]
    assert engine.query(question, reading=fresh_reading(folder, engine)).to_pylist() == expected
    drain.step()
    assert engine.query(question).to_pylist() == expected
    assert read_plan(folder).experiments == {"99": "3"}


def test_a_reader_that_takes_longer_than_a_batch_is_waited_for(folder, tmp_path, monkeypatch):
    engine, reader = EmbeddedEngine(tmp_path / "tables"), EmbeddedEngine(tmp_path / "tables")
    writer = SpoolWriter(folder)
    series = writer.series_map()
    drain = Drain(folder, engine)
    is_over, n_logged = threading.Event(), [0]

    def commit() -> None:
        while not is_over.is_set():
            writer.put_point(series, "x", ("a", 0), n_logged[0], 1.0, 1)
            n_logged[0] += 1
            drain.step()

    real = overlay.SegmentReader.read

    def slowly(self, start):
        if threading.current_thread() is threading.main_thread():
            # As long as a batch, or where there is none, a second: it waits for five.
            plan, until = read_plan(folder), time.monotonic() + 1
            while read_plan(folder) == plan and time.monotonic() < until:
                time.sleep(0.01)
        return real(self, start)

    monkeypatch.setattr(overlay.SegmentReader, "read", slowly)
    monkeypatch.setattr(overlay, "PATIENCE", 1)
    monkeypatch.setattr(overlay, "TRIES", 4)
    committer = threading.Thread(target=commit)
    committer.start()
    try:
        while not n_logged[0]:
            time.sleep(0.01)
        before = n_logged[0]
        assert before - 1 <= sum(seen(reader, folder).values()) <= n_logged[0]
    finally:
        is_over.set()
        committer.join()
    writer.close()
