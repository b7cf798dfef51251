"""The ways in which a logging process lives and ends: nothing that was logged is lost, and no exit hangs.

Each program prints ``logged N`` for the points whose calls had returned, over all its processes, and `leave` right
before it ends: from there on it may take two seconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlwarehouse import Warehouse

EXIT_S = 2.0

START = """
import atexit, json, multiprocessing, os, signal, sys, threading, time
import mlwarehouse as mlw
warehouse = mlw.set_warehouse(sys.argv[1], committer="off", capture_code=False)

def log(run, who, n):
    for step in range(n):
        run.log_metric(who, step / 2, step)

def leave(n):
    # One write: the process may be gone right after it.
    os.write(1, json.dumps({"logged": n, "at": time.time()}).encode() + b"\\n")
"""

WORKERS = """
run = mlw.start_run(experiment="life")
log(run, "before", 1000)

def work(number):
    log(run, f"worker {number}", 1000)

def spawned(uri, run_id, number):
    mlw.set_warehouse(uri, committer="off", capture_code=False)
    with mlw.start_run(run_id=run_id, join=True) as run:
        log(run, f"worker {number}", 1000)
"""

PROGRAMS = {
    # name: (program, status of the run, exit code)
    "four forked workers, as a DataLoader has them": (
        """
context = multiprocessing.get_context("fork")
workers = [context.Process(target=work, args=(i,)) for i in range(4)]
[w.start() for w in workers]
log(run, "meanwhile", 1000)
[w.join() for w in workers]
run.end()
leave(6000)
""",
        "FINISHED",
        0,
    ),
    "forked workers that are killed": (
        """
def endless(number):
    log(run, f"worker {number}", 1000)
    os.kill(os.getpid(), signal.SIGKILL)
context = multiprocessing.get_context("fork")
workers = [context.Process(target=endless, args=(i,)) for i in range(4)]
[w.start() for w in workers]
[w.join() for w in workers]
leave(5000)
""",
        "FINISHED",
        0,
    ),
    "eight threads": (
        """
threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
run.end()
leave(9000)
""",
        "FINISHED",
        0,
    ),
    "the end of the program with a run that nobody ended": ("leave(1000)", "FINISHED", 0),
    "os._exit": ("leave(1000); os._exit(3)", "RUNNING", 3),
    "an exception that nobody caught": ("leave(1000); raise ValueError('training')", "FAILED", 1),
    "an exception within `with`": (
        """
try:
    with run:
        raise ValueError("training")
except ValueError:
    pass
leave(1000)
""",
        "FAILED",
        0,
    ),
    "sys.exit within `with`": ("with run:\n    leave(1000)\n    sys.exit(4)", "FAILED", 4),
    "sys.exit": ("leave(1000); sys.exit(4)", "FINISHED", 4),
    "Ctrl-C": ("leave(1000); signal.raise_signal(signal.SIGINT)", "KILLED", -signal.SIGINT),
    "Ctrl-C within `with`": (
        "with run:\n    leave(1000)\n    signal.raise_signal(signal.SIGINT)",
        "KILLED",
        -signal.SIGINT,
    ),
    "SIGTERM": ("leave(1000); signal.raise_signal(signal.SIGTERM); time.sleep(60)", "RUNNING", -signal.SIGTERM),
    "SIGTERM that the program turns into an exception": (
        """
signal.signal(signal.SIGTERM, signal.default_int_handler)
leave(1000)
signal.raise_signal(signal.SIGTERM)
""",
        "KILLED",
        -signal.SIGINT,
    ),
    "an exception in another function that runs at exit": (
        """
def fail():
    raise ValueError("at exit")
atexit.register(fail)
leave(1000)
""",
        "FINISHED",
        0,
    ),
    "logging at exit, before the warehouse is closed": (
        """
atexit.register(lambda: (log(run, "late", 500), leave(1500)))
""",
        "FINISHED",
        0,
    ),
    "a daemon thread that logs to the end": (
        """
acknowledged = 0
def endless():
    global acknowledged
    try:
        while True:
            run.log_metric("endless", 1.0, acknowledged)
            acknowledged += 1
    except mlw.RunFinishedError:
        pass
threading.Thread(target=endless, daemon=True).start()
time.sleep(0.2)
log(run, "meanwhile", 1000)
# Registered last, so it runs first: from here on more may come, and none may go.
atexit.register(lambda: leave(2000 + acknowledged))
""",
        "FINISHED",
        0,
    ),
    "a thread that outlives the main thread": (
        """
def late():
    time.sleep(0.3)
    work(1)
    leave(2000)
threading.Thread(target=late).start()
""",
        "FINISHED",
        0,
    ),
}


def run_program(tmp_path: Path, program: str) -> tuple[int, str, dict, float]:
    """Run one; returns its exit code, what it said on stderr, what it logged, and how long it took to leave."""
    file = tmp_path / "program.py"
    file.write_text(START + program)
    process = subprocess.Popen(
        [sys.executable, str(file), str(tmp_path / "wh")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out, err = process.communicate(timeout=120)
    ended = time.time()
    said = json.loads(out.splitlines()[-1])
    return process.returncode, err, said, ended - said["at"]


def found(root: Path) -> tuple[int, list[str]]:
    """How many points are there, each once and in order, and the runs' statuses."""
    warehouse = Warehouse(root, committer="off")
    warehouse.flush()
    query = "SELECT key, count(*) AS n, count(DISTINCT step) AS d, max(step) AS m FROM metrics GROUP BY key"
    rows = warehouse.sql(query, output_format="arrow").to_pylist()
    assert all(r["n"] == r["d"] == r["m"] + 1 for r in rows), rows
    statuses = warehouse.sql("SELECT status FROM runs", output_format="arrow").to_pylist()
    assert warehouse.spool().losses() == []
    warehouse.close()
    return sum(r["n"] for r in rows), [r["status"] for r in statuses]


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_is_lost_however_a_process_ends(tmp_path, name):
    program, status, code = PROGRAMS[name]
    returncode, err, said, took = run_program(tmp_path, WORKERS + program)
    assert returncode == code, err
    assert took < EXIT_S, err
    n, statuses = found(tmp_path / "wh")
    if "daemon" in name:
        assert n >= said["logged"]
    else:
        assert n == said["logged"]
    assert statuses == [status]


def test_spawned_workers_join_the_run(tmp_path):
    program = """
if __name__ == "__main__":
    with mlw.start_run(experiment="life") as run:
        log(run, "before", 1000)
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=spawned, args=(sys.argv[1], run.run_id, i)) for i in range(2)]
        [w.start() for w in workers]
        log(run, "meanwhile", 1000)
        [w.join() for w in workers]
    leave(4000)
"""
    functions = WORKERS.replace('run = mlw.start_run(experiment="life")\nlog(run, "before", 1000)\n', "")
    returncode, err, said, took = run_program(tmp_path, functions + program)
    assert returncode == 0, err
    assert took < EXIT_S
    assert found(tmp_path / "wh") == (said["logged"], ["FINISHED"])


def test_a_process_that_is_interrupted_in_the_middle_of_logging_keeps_every_call(tmp_path):
    program = """
run = mlw.start_run(experiment="life")
n = 0
try:
    os.write(1, b"ready\\n")
    while True:
        run.log_metric("x", n / 2, n)
        n += 1
finally:
    leave(n)
"""
    file = tmp_path / "program.py"
    file.write_text(START + program)
    process = subprocess.Popen(
        [sys.executable, str(file), str(tmp_path / "wh")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    n, statuses = found(tmp_path / "wh")
    # The call that the signal met may have been kept or not.
    assert json.loads(out)["logged"] <= n <= json.loads(out)["logged"] + 1, err
    assert statuses == ["KILLED"]
