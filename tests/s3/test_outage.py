"""A store that is away: training goes on, one warning says so, and when it is back all is committed once.

``MLWAREHOUSE_SOAK=1`` has it away for ten minutes, under a training process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.ingest import committer
from mlwarehouse.ingest.trouble import FILE
from mlwarehouse.storage import objects

POINTS = "SELECT COUNT(*) AS n, COUNT(DISTINCT (writer_id, writer_seq)) AS n_distinct FROM metrics"

SOAK_S = 600.0


def n_committed(warehouse: Warehouse) -> int:
    (row,) = warehouse.engine().query(POINTS).to_pylist()
    assert row["n"] == row["n_distinct"]
    return int(row["n"])


def wait_for(what, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_warning_and_one_error_tell_of_an_outage(uri, server, monkeypatch, caplog):
    monkeypatch.setattr(objects, "PATIENCE_S", 0.1)
    monkeypatch.setitem(objects.DELTA_OPTIONS, "max_retries", "0")
    monkeypatch.setattr(committer, "RETRY_S", 0.1)
    caplog.set_level("INFO", logger="mlwarehouse.committer")
    warehouse = Warehouse(uri, committer="off", capture_code=False, heartbeat_s=1000)
    warehouse.create()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run = warehouse.start_run()
        run.log_metric("loss", 0.5, step=0)
        warehouse.flush()
        options = {"interval_s": 0.05, "idle_s": 0.2, "maintenance": "off"}
        thread = threading.Thread(
            target=committer.run_committer, args=(warehouse.storage, warehouse.spool()), kwargs=options
        )
        thread.start()
        wait_for(warehouse.spool().has_committer)
        server.stop()
        try:
            for step in range(1, 500):
                run.log_metric("loss", 0.5, step=step)
            wait_for((warehouse.spool().path / FILE).exists)
            for _ in range(5):
                warehouse.recorder.see_to_committer()
                time.sleep(0.2)
        finally:
            server.start()
        wait_for(lambda: not (warehouse.spool().path / FILE).exists())
        run.end()
        warehouse.close()
        thread.join(60)
    assert not thread.is_alive()
    (warning,) = said
    assert "Logging goes on" in str(warning.message)
    assert [r.levelname for r in caplog.records if r.name == "mlwarehouse.committer"] == ["ERROR", "INFO"]
    assert n_committed(warehouse) == 500


def train(uri: str, seconds: str, report: str) -> None:
    """A training process; what it noticed goes into a file."""
    import resource

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warehouse = Warehouse(uri, capture_code=False, commit_interval_s=0.5)
        worst, n = 0.0, 0
        until = time.monotonic() + float(seconds)
        with warehouse.start_run() as run:
            while time.monotonic() < until:
                started = time.perf_counter()
                run.log_metric("loss", 0.5, step=n)
                worst = max(worst, time.perf_counter() - started)
                n += 1
                time.sleep(0.002)
        warehouse.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"n": n, "worst_ms": worst * 1000, "rss_mib": peak, "said": [str(w.message) for w in said]}
    Path(report).write_text(json.dumps(found))


@pytest.mark.skipif(not os.environ.get("MLWAREHOUSE_SOAK"), reason="takes eleven minutes: MLWAREHOUSE_SOAK=1")
def test_ten_minutes_without_the_store(uri, proxy, environment, server, tmp_path):
    through = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.setenv("AWS_ENDPOINT_URL", server.url)
    warehouse = Warehouse(uri, committer="off")
    warehouse.create()
    program = f"from tests.s3 import test_outage as t; t.train({uri!r}, {SOAK_S + 40!r}, {str(tmp_path / 'report')!r})"
    trainer = subprocess.Popen([sys.executable, "-c", program], env=through)
    wait_for(lambda: n_committed(warehouse) > 0)
    proxy.close()
    time.sleep(1)
    before = n_committed(warehouse)
    most = 0.0
    until = time.monotonic() + SOAK_S
    while time.monotonic() < until:
        time.sleep(5)
        most = max(most, sum(_rss_mib(pid) for pid in _committers(str(warehouse.spool().path))))
    assert n_committed(warehouse) == before
    proxy.open()
    healed = time.monotonic()
    waiting = sum(p.stat().st_blocks for p in warehouse.spool().segments()) * 512 / 2**20
    wait_for(lambda: n_committed(warehouse) > before, 120)
    first = time.monotonic() - healed
    assert trainer.wait(120) == 0
    found = json.loads((tmp_path / "report").read_text())
    wait_for(lambda: n_committed(warehouse) == found["n"], 180)
    errors = warehouse.spool().log_path.read_text().count(" ERROR ")
    print(
        f"\n{found['n']} points, worst call {found['worst_ms']:.1f} ms, training {found['rss_mib']:.0f} MiB, committer "
        f"{most:.0f} MiB, {waiting:.1f} MiB waited, first commit {first:.1f} s after, {errors} errors in the log; "
        f"warnings: {found['said']}"
    )
    assert len(found["said"]) == 1


def _committers(spool: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"mlwarehouse.ingest.committer" in words and spool.encode() in words:
            found.append(int(path.parent.name))
    return found


def _rss_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)
