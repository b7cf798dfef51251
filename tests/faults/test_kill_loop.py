"""`kill -9` of the writer, of the committer, of both: every call that returned is in the tables, once, in order."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

from mlwarehouse import Warehouse
from tests.faults.conftest import SOAK

SEED = int(os.environ.get("MLWAREHOUSE_SEED", "20261121"))
ROUNDS = 220 if SOAK else 8

WRITER = """
import os, struct, sys
import mlwarehouse as mlw
mlw.set_warehouse(sys.argv[1], commit_interval_s=0.05, committer_idle_s=0.2, capture_code=False)
acknowledged = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
with mlw.start_run(experiment="crash", run_name=sys.argv[3]) as run:
    step = 0
    while True:
        run.log_metric("x", step / 2, step)
        if step % 500 == 0:
            run.log_param(f"p{step}", step)
        step += 1
        os.pwrite(acknowledged, struct.pack("<q", step), 0)
"""


def committers(root: Path) -> list[int]:
    """Process ids of the committers of a warehouse."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"mlwarehouse.ingest.committer" in command and str(root).encode() in command:
                found.append(int(entry.name))
    return found


def kill(pid: int) -> int:
    """Kill a process; returns 1 if it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


def test_kill_minus_nine_loses_and_doubles_nothing(tmp_path):
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    root = tmp_path / "wh"
    warehouse = Warehouse(root, commit_interval_s=0.05, committer_idle_s=0.2)
    warehouse.create()
    expected = {}
    n_kills = 0
    for number in range(ROUNDS):
        ack = tmp_path / f"ack-{number}"
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(root), str(ack), f"run-{number}"])
        deadline = time.monotonic() + 60
        while (not ack.exists() or ack.stat().st_size < 8) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.6))
        victims = draw.choice(["writer", "committer", "both"])
        if victims != "writer":
            n_kills += sum(kill(pid) for pid in committers(root))
        if victims == "committer":
            time.sleep(draw.uniform(0.0, 0.3))
        n_kills += kill(writer.pid)
        writer.wait()
        (acknowledged,) = struct.unpack("<q", ack.read_bytes())
        expected[f"run-{number}"] = acknowledged
    n_kills += sum(kill(pid) for pid in committers(root))

    warehouse.flush(600)
    question = """
        SELECT r.run_name, count(*) AS n, count(DISTINCT m.step) AS n_steps, max(m.step) AS last,
               sum(CASE WHEN m.value = m.step / 2 THEN 0 ELSE 1 END) AS n_wrong
        FROM metrics AS m JOIN runs AS r USING (run_id) GROUP BY r.run_name"""
    rows = {r["run_name"]: r for r in warehouse.engine().query(question).to_pylist()}
    assert set(rows) == set(expected)
    for name, acknowledged in expected.items():
        row = rows[name]
        # The call under way when the process died may or may not have been kept.
        assert acknowledged <= row["n"] <= acknowledged + 1
        assert row["n"] == row["n_steps"] == row["last"] + 1
        assert row["n_wrong"] == 0
    params = warehouse.engine().query("SELECT count(*) AS n, count(DISTINCT (run_id, key)) AS d FROM param_events")
    (counts,) = params.to_pylist()
    assert counts["n"] == counts["d"] >= sum((n - 1) // 500 for n in expected.values())
    # A record behind the order of its writer would be one that a crash moved.
    order = """
        SELECT count(*) AS n FROM (
            SELECT step, lag(step) OVER (PARTITION BY run_id ORDER BY recorded_at, writer_id, writer_seq) AS before
            FROM metrics) WHERE before > step"""
    assert warehouse.engine().query(order).to_pylist() == [{"n": 0}]
    assert warehouse.spool().segments() == []
    assert warehouse.spool().losses() == []
    n_records = sum(expected.values())
    print(f"{n_kills} kills, {n_records} records acknowledged, none lost, none doubled")
    assert n_kills >= ROUNDS
    if SOAK:
        assert n_records >= 1_000_000
    warehouse.close()
