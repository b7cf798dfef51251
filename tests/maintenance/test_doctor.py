"""What `doctor` says of waiting rows and of the committer, and repairs beside processes that live."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

from mlwarehouse import Warehouse
from mlwarehouse.engines.embedded_log import log_entries
from mlwarehouse.ingest.committer import run_committer
from tests.maintenance.conftest import log_runs


def metrics_of(warehouse: Warehouse) -> int:
    (row,) = warehouse.sql("SELECT count(*) AS n FROM metrics", output_format="arrow").to_pylist()
    return row["n"]


def test_waiting_rows_have_an_age(warehouse):
    log_runs(warehouse, 1)
    assert warehouse.doctor().spool.lag_s == 0
    log_runs(warehouse, 1, flush=False)
    time.sleep(0.3)
    spool = warehouse.doctor().spool
    assert spool.n_waiting > 10
    assert 0.3 <= spool.lag_s < 60
    warehouse.flush()
    assert warehouse.doctor().spool.lag_s == 0


def test_a_living_committer_steps_aside_for_a_repair_and_its_error_is_told(tmp_path):
    root = tmp_path / "wh"
    warehouse = Warehouse(root, commit_interval_s=0.1, committer_idle_s=0.5, capture_code=False)
    run = warehouse.start_run(experiment="e")
    run.log_metric("x", 0.0, 0)
    warehouse.flush()
    newest = max(log_entries(root / "tables" / "metrics").values())
    newest.write_bytes(newest.read_bytes()[:60])
    run.log_metric("x", 1.0, 1)
    deadline = time.monotonic() + 60
    log = warehouse.spool().log_path
    n_y = 0
    while b"ERROR" not in log.read_bytes() and time.monotonic() < deadline:
        run.log_metric("y", 1.0)
        n_y += 1
        time.sleep(0.2)
    other = Warehouse(root, committer="off")
    health = other.doctor()
    assert {d.kind for d in health.damages} == {"torn entry"}
    assert "Truncated" in health.spool.last_error
    mended = other.repair()
    assert [m.is_mended for m in mended] == [True]
    run.log_metric("x", 2.0, 2)
    warehouse.end_run()
    warehouse.flush()
    rows = other.sql(
        "SELECT key, step, count(*) AS n FROM metrics GROUP BY ALL ORDER BY key, step", output_format="arrow"
    )
    xs = [(r["step"], r["n"]) for r in rows.to_pylist() if r["key"] == "x"]
    assert xs == [(0, 1), (1, 1), (2, 1)]
    assert sum(r["n"] for r in rows.to_pylist() if r["key"] == "y") == n_y
    assert other.doctor().damages == ()
    warehouse.close()


def test_a_committer_ends_when_its_lock_is_taken_away(warehouse):
    log_runs(warehouse, 1, flush=False)
    spool = warehouse.spool()
    done: list[int] = []
    thread = threading.Thread(
        target=lambda: done.append(run_committer(warehouse.storage, spool, interval_s=0.1, idle_s=60)), daemon=True
    )
    thread.start()
    deadline = time.monotonic() + 30
    while not spool.committed_batch() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert thread.is_alive()
    spool.lock_path.unlink()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert done[0] > 10
    assert {d.kind for d in warehouse.doctor().damages} == {"lost plan"}
    assert all(m.is_mended for m in warehouse.repair())
    assert warehouse.doctor().problems == ()


def run_command(*arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mlwarehouse", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_the_commands_mend_keep_and_purge(warehouse):
    ids = log_runs(warehouse, 2)
    warehouse.close()
    root = str(warehouse.root)
    assert json.loads(run_command("snapshot", "--keep", "first", "-w", root))["versions"]["metrics"] == 2
    newest = max(log_entries(warehouse.root / "tables" / "metrics").values())
    newest.write_bytes(b"")
    assert "is empty" in run_command("doctor", "-w", root, status=1)
    mended = json.loads(run_command("doctor", "--repair", "-w", root, "--json"))
    assert [m["kind"] for m in mended["mended"]] == ["empty entry"]
    assert mended["problems"] == []
    assert "1 kept snapshots would go" in run_command("purge", "--run-id", ids[0], "-w", root)
    done = json.loads(run_command("purge", "--run-id", ids[0], "-w", root, "--yes", "--json"))
    assert (done["is_done"], done["n_runs"]) == (True, 1)
    assert "no problems found" in run_command("doctor", "--deep", "-w", root)
    assert metrics_of(Warehouse(root, committer="off")) == 10
