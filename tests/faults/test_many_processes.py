"""Many processes log to one warehouse at once, on one machine and on several, while the committer keeps dying."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from deltalake import DeltaTable

from mlwarehouse import Warehouse
from mlwarehouse.engines.spark import SparkEngine
from mlwarehouse.tables import TABLES_BY_NAME
from tests.faults.processes import committers, kill

SOAK = os.environ.get("MLWAREHOUSE_SOAK") == "1"
N_PROCESSES = 16 if SOAK else 8
SECONDS = 60.0 if SOAK else 5.0
KILL_EVERY_S = 3.0 if SOAK else 1.5
INTERVAL_S = 1.0

WRITER = """
import json, sys, time
import mlwarehouse as mlw
root, spool, number, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
mlw.set_warehouse(root, spool_dir=spool, capture_code=False, committer_idle_s=1.0)
with mlw.start_run(experiment="storm", run_name=f"run-{number}") as run:
    step, late = 0, 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(100):
            run.log_metrics({"a": step / 2, "b": number}, step)
            step += 1
        if step % 20_000 == 0:
            # What this process reads is what it has logged, to the last call.
            (found,) = mlw.sql("SELECT count(*) AS n FROM metrics WHERE run_id = $r", parameters={"r": run.run_id}).n
            late += found != 2 * step
        time.sleep(0.005)
print(json.dumps({"run_id": run.run_id, "steps": step, "late": late}))
mlw.get_warehouse().close()
"""


def start(root: Path, spool: str, number: int) -> subprocess.Popen:
    arguments = [sys.executable, "-c", WRITER, str(root), spool, str(number), str(SECONDS)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def outcomes(writers: list[subprocess.Popen]) -> list[dict]:
    found = []
    for writer in writers:
        out, _ = writer.communicate(timeout=SECONDS + 120)
        assert writer.returncode == 0
        found.append(json.loads(out))
    return found


def check(warehouse: Warehouse, expected: list[dict]) -> None:
    assert [e["late"] for e in expected] == [0] * len(expected)
    rows = warehouse.engine().query(
        "SELECT run_id, key, count(*) AS n, count(DISTINCT step) AS d, max(step) AS last "
        "FROM metrics GROUP BY run_id, key"
    )
    found = {(r["run_id"], r["key"]): (r["n"], r["d"], r["last"]) for r in rows.to_pylist()}
    steps = {(e["run_id"], key): e["steps"] for e in expected for key in "ab"}
    assert found == {series: (n, n, n - 1) for series, n in steps.items()}
    runs = warehouse.engine().query("SELECT status, count(*) AS n FROM runs GROUP BY status").to_pylist()
    assert runs == [{"status": "FINISHED", "n": len(expected)}]


def commit_times(root: Path) -> list[float]:
    """When the metrics table's versions were committed, in seconds since the epoch, oldest first."""
    history = DeltaTable(root / "tables" / "metrics").history()
    return sorted(entry["timestamp"] / 1000 for entry in history)


def test_one_machine_with_its_committer_killed(tmp_path):
    root = tmp_path / "wh"
    warehouse = Warehouse(root)
    warehouse.create()
    writers = [start(root, "", number) for number in range(N_PROCESSES)]
    n_killed = 0
    while any(writer.poll() is None for writer in writers):
        time.sleep(KILL_EVERY_S)
        for pid in committers(root):
            kill(pid)
            n_killed += 1
    expected = outcomes(writers)
    warehouse.flush()
    check(warehouse, expected)
    assert n_killed >= 2
    times = commit_times(root)[1:]
    # A batch a second for everybody: a killed committer's successor finishes the old batch and starts a new one.
    most = 2 * (times[-1] - times[0] + 2 * INTERVAL_S) + 2 * n_killed
    assert len(times) <= most
    warehouse.close()


def test_four_machines_that_commit_at_once(tmp_path):
    root = tmp_path / "wh"
    warehouse = Warehouse(root)
    warehouse.create()
    writers = [start(root, str(tmp_path / f"machine-{number}"), number) for number in range(4)]
    expected = outcomes(writers)
    for number in range(4):
        machine = Warehouse(root, spool_dir=str(tmp_path / f"machine-{number}"))
        machine.flush()
        machine.close()
    check(warehouse, expected)
    warehouse.close()


def test_spark_appends_beside_a_machine_that_commits(tmp_path, spark):
    root = tmp_path / "wh"
    warehouse = Warehouse(root)
    warehouse.create()
    metrics = TABLES_BY_NAME["metrics"]
    engine = SparkEngine(spark, root / "tables")
    writer = start(root, "", 0)
    n_appended = 0
    while writer.poll() is None:
        # Two tasks stage a file each.
        rows = spark.range(n_appended, n_appended + 10, 1, 2).selectExpr(
            "'from-spark' AS run_id",
            "'s' AS key",
            "id AS step",
            "1.0D AS value",
            "CAST(NULL AS STRING) AS context",
            "0 AS attempt",
            "current_timestamp() AS event_at",
            "current_timestamp() AS recorded_at",
            "'spark' AS writer_id",
            "id AS writer_seq",
        )
        assert engine.append(metrics, rows).n_rows == 10
        n_appended += 10
    (expected,) = outcomes([writer])
    warehouse.flush()
    rows = warehouse.engine().query(
        "SELECT key, count(*) AS n, count(DISTINCT step) AS d FROM metrics GROUP BY key ORDER BY key"
    )
    counts = {"a": expected["steps"], "b": expected["steps"], "s": n_appended}
    assert rows.to_pylist() == [{"key": key, "n": n, "d": n} for key, n in counts.items()]
    assert n_appended > 0
    warehouse.close()
