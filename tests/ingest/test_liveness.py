"""A run whose process is gone becomes lost when its promise is past, by whatever clock; a resumed one isn't."""

from __future__ import annotations

import datetime as dt
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest

from mlwarehouse import Warehouse
from mlwarehouse.engines.base import Reading
from mlwarehouse.tables import RUN_EVENTS

PROGRAM = """
import sys, time
import mlwarehouse as mlw
mlw.set_warehouse(sys.argv[1], committer="off", capture_code=False, heartbeat_s=1)
run = mlw.start_run()
print(run.run_id, flush=True)
time.sleep(60)
"""


def is_lost(warehouse: Warehouse) -> bool:
    rows = warehouse.engine().query("SELECT is_lost FROM runs", reading=warehouse.reading()).to_pylist()
    return rows[0]["is_lost"]


def test_a_killed_run_is_lost_after_two_heartbeats_and_a_resumed_one_is_not(warehouse):
    warehouse.create()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(warehouse.root)], stdout=subprocess.PIPE, text=True)
    run_id = process.stdout.readline().strip()
    # Longer than the first promise: its heartbeats keep it.
    time.sleep(3)
    assert not is_lost(warehouse)
    process.send_signal(signal.SIGKILL)
    killed_at = time.monotonic()
    process.stdout.close()
    process.wait()
    assert not is_lost(warehouse)
    while not is_lost(warehouse):
        assert time.monotonic() - killed_at < 10
        time.sleep(0.1)
    with warehouse.start_run(run_id=run_id) as again:
        assert again.attempt == 1
        assert not is_lost(warehouse)
    assert not is_lost(warehouse)


def event(kind: str, seq: int, at_s: float, due_s: float, recorded_s: float) -> dict:
    def moment(s: float) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=s)

    return {
        "run_id": "r",
        "kind": kind,
        "attempt": 0,
        "experiment_id": "0",
        "status": "RUNNING" if kind == "started" else None,
        "heartbeat_due_at": moment(due_s),
        "event_at": moment(at_s),
        "recorded_at": moment(recorded_s),
        "writer_id": "w",
        "writer_seq": seq,
    }


@pytest.mark.parametrize(
    ("promises", "lost"),
    [
        # The clock was an hour ahead and was set right: the newest promise counts, not the latest in time.
        ([("started", 3600, 3660, -100), ("heartbeat", -90, -30, -90)], True),
        # It was an hour behind and was set right.
        ([("started", -3600, -3540, -40), ("heartbeat", -10, 50, -10)], False),
        # It is behind by less than the promise reaches: not lost; by more: the promise is past for everybody else.
        ([("started", -30, 30, 0)], False),
        ([("started", -70, -10, 0)], True),
    ],
)
def test_the_newest_promise_counts_whatever_the_clock_said_before(warehouse, promises, lost):
    warehouse.create()
    events = [event(kind, seq, *seconds) for seq, (kind, *seconds) in enumerate(promises)]
    rows = pa.Table.from_pylist(events, schema=RUN_EVENTS.arrow_schema())
    found = warehouse.engine().query("SELECT is_lost FROM runs", reading=Reading(overlay={"run_events": rows}))
    assert found.to_pylist() == [{"is_lost": lost}]
