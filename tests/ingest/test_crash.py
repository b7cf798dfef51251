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

import pytest

from mlwarehouse import Warehouse

SEED = 20_261_121
ROUNDS = 8

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


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_kill_minus_nine_loses_and_doubles_nothing(tmp_path):
    draw = random.Random(SEED)
    root = tmp_path / "wh"
    warehouse = Warehouse(root, commit_interval_s=0.05, committer_idle_s=0.2)
    warehouse.create()
    expected = {}
    for number in range(ROUNDS):
        ack = tmp_path / f"ack-{number}"
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(root), str(ack), f"run-{number}"])
        deadline = time.monotonic() + 30
        while (not ack.exists() or ack.stat().st_size < 8) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.6))
        victims = draw.choice(["writer", "committer", "both"])
        if victims != "writer":
            for pid in committers(root):
                kill(pid)
        if victims == "committer":
            time.sleep(draw.uniform(0.0, 0.3))
        kill(writer.pid)
        writer.wait()
        (acknowledged,) = struct.unpack("<q", ack.read_bytes())
        expected[f"run-{number}"] = acknowledged
    for pid in committers(root):
        kill(pid)

    warehouse.flush()
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
    assert warehouse.spool().segments() == []
    warehouse.close()


def test_rows_of_a_living_process_are_seen_by_another(tmp_path):
    root = tmp_path / "wh"
    program = """
import sys, time
import mlwarehouse as mlw
mlw.set_warehouse(sys.argv[1], committer="off", capture_code=False)
with mlw.start_run(experiment="live") as run:
    for step in range(100):
        run.log_metric("x", step, step)
    print(run.run_id, flush=True)
    sys.stdin.readline()
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    run_id = writer.stdout.readline().strip()
    reader = Warehouse(root)
    rows = reader.engine().query("SELECT run_id, count(*) AS n FROM metrics GROUP BY run_id", reading=reader.reading())
    assert rows.to_pylist() == [{"run_id": run_id, "n": 100}]
    status = reader.engine().query("SELECT status FROM runs", reading=reader.reading()).to_pylist()
    assert status == [{"status": "RUNNING"}]
    writer.communicate("go\n")
    assert writer.returncode == 0
    status = reader.engine().query("SELECT status FROM runs", reading=reader.reading()).to_pylist()
    assert status == [{"status": "FINISHED"}]
    reader.close()


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_children_log_to_their_parents_run(tmp_path, how):
    program = f"""
import multiprocessing, sys, threading
import mlwarehouse as mlw

def child(uri, run_id, number):
    if {how!r} == "fork":
        run = mlw.active_run()
    else:
        mlw.set_warehouse(uri, committer="off", capture_code=False)
        run = mlw.start_run(run_id=run_id)
    for step in range(50):
        run.log_metric(f"child{{number}}", step, step)
    if {how!r} == "spawn":
        mlw.get_warehouse().close()

if __name__ == "__main__":
    uri = sys.argv[1]
    mlw.set_warehouse(uri, committer="off", capture_code=False)
    with mlw.start_run(experiment="ddp") as run:
        run.log_metric("parent", 1.0, 0)
        context = multiprocessing.get_context({how!r})
        children = [context.Process(target=child, args=(uri, run.run_id, i)) for i in range(3)]
        [c.start() for c in children]
        run.log_metric("parent", 2.0, 1)
        [c.join() for c in children]
        assert all(c.exitcode == 0 for c in children), [c.exitcode for c in children]
        run.log_metric("parent", 3.0, 2)
"""
    file = tmp_path / "program.py"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable, str(file), str(tmp_path / "wh")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    reader = Warehouse(tmp_path / "wh")
    rows = reader.engine().query(
        "SELECT key, count(*) AS n, count(DISTINCT step) AS d FROM metrics GROUP BY key ORDER BY key",
        reading=reader.reading(),
    )
    assert rows.to_pylist() == [
        *({"key": f"child{i}", "n": 50, "d": 50} for i in range(3)),
        {"key": "parent", "n": 3, "d": 3},
    ]
    reader.close()
