"""`kill -9` of the server under load: what was answered is there, and what was sent twice is there once."""

from __future__ import annotations

import collections
import http.client
import socket
import threading
import urllib.error
from pathlib import Path

from mlwarehouse import Warehouse

from .serving import Server, start

CLIENTS = 8
CALLS = 40
KILLS = 2
AWAY = (urllib.error.URLError, ConnectionError, http.client.HTTPException, TimeoutError)


class Load:
    """Clients that send each call until it is answered, as MLflow's do."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.answered = 0
        self.resent = 0
        self.wrong: list[object] = []
        self.runs: dict[int, str] = {}
        self.tick = threading.Condition()

    def send(self, path: str, **body: object) -> None:
        while True:
            try:
                status, answer = self.server.ask("POST", path, body)
            except AWAY:
                with self.tick:
                    self.resent += 1
                    # The next server is told of by the thread that starts it.
                    self.tick.wait(0.2)
                continue
            if status != 200:
                self.wrong.append((path, body, answer))
            with self.tick:
                self.answered += 1
                self.tick.notify_all()
            return

    def client(self, number: int) -> None:
        run_id = self.runs[number]
        for n in range(CALLS):
            at = 1_772_366_400_000 + n
            self.send("runs/log-metric", run_id=run_id, key="m", value=n, step=n, timestamp=at)
            if n % 10 == 0:
                self.send("runs/log-parameter", run_id=run_id, key=f"p{n}", value=str(n))
                self.send("runs/set-tag", run_id=run_id, key="t", value=str(n))
                points = [{"key": "b", "value": float(i), "step": n * 5 + i, "timestamp": at} for i in range(5)]
                self.send("runs/log-batch", run_id=run_id, metrics=points)
        self.send("runs/update", run_id=run_id, status="FINISHED", end_time=1_772_366_500_000)


def test_what_was_answered_is_there_once_after_kill_minus_nine(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    load = Load(start(tmp_path / "wh", port=port))
    load.runs = {number: load.server.run(run_name=f"run {number}") for number in range(CLIENTS)}
    threads = [threading.Thread(target=load.client, args=(number,)) for number in load.runs]
    for thread in threads:
        thread.start()
    for kill in range(1, KILLS + 1):
        with load.tick:
            load.tick.wait_for(lambda goal=kill: load.answered > goal * CLIENTS * CALLS // (KILLS + 2))
        load.server.kill()
        load.server = start(tmp_path / "wh", port=port)
    for thread in threads:
        thread.join()
    assert not load.wrong
    assert load.resent
    for run_id in load.runs.values():
        history = load.server.get("metrics/get-history", run_id=run_id, metric_key="m")["metrics"]
        assert [(m["step"], m["value"]) for m in history] == [(n, n) for n in range(CALLS)]
    load.server.stop()
    warehouse = Warehouse(tmp_path / "wh")
    for run_id in load.runs.values():
        run = warehouse.get_run(run_id)
        assert run.info.status == "FINISHED"
        assert run.data.params == {f"p{n}": str(n) for n in range(0, CALLS, 10)}
        assert run.data.tags["t"] == str(CALLS - 10)
        assert run.data.metrics == {"m": CALLS - 1, "b": 4.0}
    rows = warehouse.sql("SELECT run_id, key, step FROM metrics", output_format="arrow").to_pylist()
    times = collections.Counter((r["run_id"], r["key"], r["step"]) for r in rows)
    assert len(times) == CLIENTS * (CALLS + CALLS // 10 * 5)
    # A call that was broken off after it was written was sent again.
    assert len(rows) - len(times) <= 5 * load.resent
    warehouse.close()


def test_a_server_that_is_told_to_end_leaves_all_and_a_purge_takes_a_runs_models(tmp_path: Path) -> None:
    server = start(tmp_path / "wh")
    run_id = server.run()
    made = server.post("logged-models", experiment_id="0", name="net", source_run_id=run_id)["model"]["info"]
    where = f"/api/2.0/mlflow-artifacts/artifacts/0/models/{made['model_id']}/artifacts/data/weights"
    assert server.ask("PUT", where, b"1234") == (200, {})
    for n in range(5):
        server.post("runs/log-metric", run_id=run_id, key="m", value=n, step=n, timestamp=1_772_366_400_000)
    server.stop()
    warehouse = Warehouse(tmp_path / "wh")
    assert warehouse.get_run(run_id).data.metrics == {"m": 4.0}
    (row,) = warehouse.sql("SELECT run_id, path, size_bytes FROM artifacts", output_format="arrow").to_pylist()
    assert row == {"run_id": run_id, "path": f"models/{made['model_id']}/data/weights", "size_bytes": 4}
    warehouse.purge(run_id=run_id)
    for table in ("logged_model_events", "artifact_events", "metrics"):
        assert warehouse.sql(f"SELECT * FROM {table}").empty
    warehouse.close()
