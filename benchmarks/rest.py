"""MLflow's REST calls on our server, beside `mlflow server` on SQLite: one client, the same load tool, answers checked.

An answered call of ours is synced to disk.
"""

from __future__ import annotations

import http.client
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import Bar, Benchmark, Measured, Side, answer_of, points

BATCH = 1000
START = 1_772_366_400_000
STARTS_S = 300


class Client:
    """Sends calls over one connection that stays open."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        """Connect to a server that listens."""
        self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=STARTS_S)
        self._process = process

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer of a call."""
        data = None if body is None else json.dumps(body)
        self._line.request(method, f"/api/2.0/mlflow/{path}", data, {"Content-Type": "application/json"})
        answer = self._line.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise ValueError(f"{path}: {answer.status} {text[:200]!r}")
        return json.loads(text)

    def run(self) -> str:
        """The id of a new run."""
        made = self.ask("POST", "runs/create", {"experiment_id": "0", "start_time": START})
        return str(made["run"]["info"]["run_id"])

    def read_back(self, run_id: str) -> tuple[int, float, int]:
        """What was logged."""
        history = self.ask("GET", f"metrics/get-history?run_id={run_id}&metric_key=m").get("metrics", [])
        return answer_of(len(history), sum(m["value"] for m in history), max(m["step"] for m in history))

    def peak_mb(self) -> float:
        """Peak memory of the server."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) / 1024


@contextmanager
def served(*command: str) -> Iterator[Client]:
    """A server in a process of its own; ``PORT`` in its command is a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", *(part.replace("PORT", str(port)) for part in command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + STARTS_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        yield Client(port, process)
    finally:
        process.terminate()
        process.wait()


def ours(place: Path) -> Any:
    """Our server."""
    return served("mlwarehouse", "serve", "--warehouse", str(place / "wh"), "--port", "PORT")


def mlflow(place: Path) -> Any:
    """MLflow's, with one worker."""
    import mlflow  # noqa: F401

    store = f"sqlite:///{place}/mlflow.db"
    return served("mlflow", "server", "--backend-store-uri", store, "--port", "PORT", "--workers", "1")


def point(n: int, value: float) -> dict[str, Any]:
    """The n-th point, as a call has it."""
    return {"key": "m", "value": value, "timestamp": START + n, "step": n}


def log_batches(client: Client, run_id: str, n: int) -> list[float]:
    """Log points in batches; seconds of each call."""
    given, costs = [point(i, value) for i, value in enumerate(points(n))], []
    for first in range(0, n, BATCH):
        body = {"run_id": run_id, "metrics": given[first : first + BATCH]}
        before = time.perf_counter()
        client.ask("POST", "runs/log-batch", body)
        costs.append(time.perf_counter() - before)
    return costs


def log_metrics(client: Client, run_id: str, n: int) -> list[float]:
    """Log points one by one; seconds of each call."""
    costs = []
    for i, value in enumerate(points(n)):
        before = time.perf_counter()
        client.ask("POST", "runs/log-metric", {"run_id": run_id, **point(i, value)})
        costs.append(time.perf_counter() - before)
    return costs


def get_runs(client: Client, run_id: str, n: int) -> list[float]:
    """Log points, and read the run as often; seconds of each reading."""
    log_batches(client, run_id, n)
    costs = []
    for _ in range(n):
        before = time.perf_counter()
        client.ask("GET", f"runs/get?run_id={run_id}")
        costs.append(time.perf_counter() - before)
    return costs


class Calls:
    """One side: the median of its calls in milliseconds, with the 99th percentile."""

    def __init__(self, opened: Callable[[Path], Any], work: Callable[[Client, str, int], list[float]]) -> None:
        """Name a server, and what is asked of it."""
        self._opened, self._work = opened, work

    def __call__(self, place: Path, n: int) -> Measured:
        """Do it, and read back what was logged."""
        with self._opened(place) as client:
            run_id = client.run()
            client.ask("POST", "runs/log-metric", {"run_id": run_id, "key": "warm", "value": 0, "timestamp": START})
            costs = sorted(1000 * cost for cost in self._work(client, run_id, n))
            extra = {"p99": costs[min(len(costs) - 1, len(costs) * 99 // 100)], "server's MB": client.peak_mb()}
            return Measured(statistics.median(costs), client.read_back(run_id), extra=extra)


def _benchmark(name: str, what: str, work: Any, size: int, peers: int, bar: Bar) -> Benchmark:
    return Benchmark(
        name=name,
        what=what,
        unit="ms",
        is_better_low=True,
        us=Side("mlwarehouse `serve`, synced to disk", Calls(ours, work), size),
        others=(Side("`mlflow server`, SQLite", Calls(mlflow, work), peers),),
        bar=bar,
    )


BENCHMARKS = (
    _benchmark(
        "rest_batch",
        "REST: a `log-batch` of 1,000 points, one client",
        log_batches,
        200_000,
        50_000,
        Bar("≥ 10 times MLflow's speed", lambda value, best: best >= 10 * value),
    ),
    _benchmark(
        "rest_metric",
        "REST: a `log-metric`, one client",
        log_metrics,
        5_000,
        2_000,
        Bar("≥ 10 times MLflow's speed", lambda value, best: best >= 10 * value),
    ),
    _benchmark(
        "rest_get",
        "REST: `runs/get` of a run that is logged to, one client",
        get_runs,
        2_000,
        1_000,
        Bar("≥ 5 times MLflow's speed", lambda value, best: best >= 5 * value),
    ),
)
