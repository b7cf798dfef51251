"""The clock jumps by a day, back and forth: order, heartbeats and what is kept don't hang on it."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.ingest import keeper
from mlwarehouse.ingest.drain import Drain
from mlwarehouse.ingest.keeper import Keeper
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_writer import SpoolWriter
from tests.faults.spools import RUN

DAY_S = 86_400


@pytest.fixture
def clock(monkeypatch):
    """Call it with seconds to set the clock off by so much; what measures durations isn't moved."""
    real, real_ns = time.time, time.time_ns
    off = [0]
    monkeypatch.setattr(time, "time", lambda: real() + off[0])
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + off[0] * 10**9)

    def jump(seconds: int) -> None:
        off[0] = seconds

    return jump


def test_rows_stay_in_the_order_written_and_recorded_times_never_go_back(tmp_path, clock):
    folder = SpoolFolder(tmp_path / "spool")
    folder.create()
    engine = EmbeddedEngine(tmp_path / "tables")
    drain = Drain(folder, engine)
    writer = SpoolWriter(folder)
    series = writer.series_map()
    step = 0
    for jump in (0, DAY_S, -DAY_S, 0, -DAY_S, DAY_S):
        clock(jump)
        for _ in range(50):
            writer.put_point(series, "x", RUN, step, step / 2, time.time_ns() // 1000)
            step += 1
        if jump < 0:
            # A new segment, whose header has the time of now.
            writer.close()
        drain.step()
        # A committer that starts anew has only the plan to know the time of the batch before.
        drain = Drain(folder, engine)
    query = "SELECT step, recorded_at FROM metrics ORDER BY recorded_at, writer_id, writer_seq"
    rows = engine.query(query).to_pylist()
    assert [r["step"] for r in rows] == list(range(step))
    times = [r["recorded_at"] for r in rows]
    assert len(set(times)) == 6
    assert times == sorted(times)
    engine.close()


def test_the_last_value_is_the_last_step_and_the_last_tag_the_last_written(tmp_path, clock):
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    with warehouse.start_run(experiment="clock") as run:
        for step, jump in enumerate((0, DAY_S, -DAY_S)):
            clock(jump)
            run.log_metric("x", float(step), step)
            run.set_tag("phase", str(step))
            warehouse.flush()
    warehouse.flush()
    rows = warehouse.sql(
        "SELECT s.last, s.count, t.value AS phase, r.status FROM metric_summaries AS s JOIN tags AS t USING (run_id) "
        "JOIN runs AS r USING (run_id) WHERE t.key = 'phase'",
        output_format="arrow",
    ).to_pylist()
    assert rows == [{"last": 2.0, "count": 3, "phase": "2", "status": "FINISHED"}]
    warehouse.close()


def test_the_keeper_goes_by_the_clock_that_does_not_jump(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(keeper, "SYNC_S", 0.01)
    folder = SpoolFolder(tmp_path / "spool")
    folder.create()
    writer = SpoolWriter(folder)
    beats: list[float] = []
    enough = threading.Event()

    def beat() -> None:
        beats.append(time.monotonic())
        # Each beat sets the clock to another day.
        clock(DAY_S if len(beats) % 2 else -DAY_S)
        if len(beats) == 6:
            enough.set()

    kept = Keeper(
        writer,
        does_sync=True,
        heartbeat_s=0.1,
        send_heartbeats=beat,
        retry_artifacts=lambda: None,
        see_to_committer=lambda: None,
    )
    assert enough.wait(20)
    kept.stop()
    gaps = [after - before for before, after in itertools.pairwise(beats)]
    assert min(gaps) >= 0.09
