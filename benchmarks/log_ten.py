"""What ten metrics of one step cost the training loop in one call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.commit_rate import as_steps
from benchmarks.harness import Bar, Benchmark, Measured, Side, answer_of, points

Log = Callable[[dict[str, float], int], Any]
"""Logs the metrics of a step."""

Measure = Callable[[Log, int], tuple[float, dict[str, float]]]
"""Measures a way to log so many values: the figure, and others beside it."""


def timed_steps(log: Log, n: int) -> tuple[float, dict[str, float]]:
    """Time each call that logs ten metrics.

    Returns:
        The median in microseconds, and p99 beside it.
    """
    clock = time.perf_counter_ns
    costs = []
    for step, metrics in as_steps(points(n)):
        before = clock()
        log(metrics, step)
        costs.append(clock() - before)
    costs.sort()
    return statistics.median(costs) / 1000, {"p99": costs[int(len(costs) * 0.99)] / 1000}


def logged_by_us(place: Path, n: int, measure: Measure, **settings: Any) -> Measured:
    """Measure `run.log_metrics`, with the committer at work beside it, and read the points back."""
    import mlwarehouse as mlw

    warehouse = mlw.set_warehouse(place / "wh", capture_code=False, **settings)
    with mlw.start_run(experiment="bench") as run:
        value, extra = measure(run.log_metrics, n)
    (row,) = mlw.sql(
        "SELECT count(*) AS n, sum(value) AS s, max(step) AS m FROM metrics WHERE key LIKE 'm%'"
    ).itertuples()
    warehouse.flush()
    warehouse.close()
    return Measured(value, answer_of(int(row.n), float(row.s), int(row.m)), extra=extra)


def logged_by_tensorboard(place: Path, n: int, measure: Measure) -> Measured:
    """Measure `SummaryWriter.add_scalar`, ten calls a step, and read the points back."""
    import numpy as np
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(place))

    def log(metrics: dict[str, float], step: int) -> None:
        for key, value in metrics.items():
            writer.add_scalar(key, value, step)

    value, extra = measure(log, n)
    writer.close()
    events = EventAccumulator(str(place), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    found = [(e.step, e.value) for key in events.Tags()["scalars"] for e in events.Scalars(key)]
    # It stores single precision: what was logged is compared after the same rounding.
    values = points(n)
    same = np.array_equal(np.sort(np.array(values, np.float32)), np.sort(np.array([v for _, v in found], np.float32)))
    answer = answer_of(len(found), sum(values) if same else float("nan"), max(s for s, _ in found))
    return Measured(value, answer, extra=extra)


def logged_by_mlflow(place: Path, n: int, measure: Measure, *, synchronous: bool) -> Measured:
    """Measure `mlflow.log_metrics` into SQLite, and read the points back."""
    import sqlite3

    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
    mlflow.set_experiment("bench")
    with mlflow.start_run():
        value, extra = measure(lambda metrics, step: mlflow.log_metrics(metrics, step=step, synchronous=synchronous), n)
        if not synchronous:
            mlflow.flush_async_logging()
    with sqlite3.connect(place / "mlflow.db") as db:
        count, total, last = db.execute("select count(*), sum(value), max(step) from metrics").fetchone()
    return Measured(value, answer_of(count, total, last), extra=extra)


def ours(place: Path, n: int) -> Measured:
    """`run.log_metrics`."""
    return logged_by_us(place, n, timed_steps, system_metrics_s=0)


def tensorboard(place: Path, n: int) -> Measured:
    """`SummaryWriter.add_scalar`."""
    return logged_by_tensorboard(place, n, timed_steps)


def mlflow_async(place: Path, n: int) -> Measured:
    """`mlflow.log_metrics(..., synchronous=False)`."""
    return logged_by_mlflow(place, n, timed_steps, synchronous=False)


BENCHMARK = Benchmark(
    name="log-ten",
    what="log ten metrics of a step",
    unit="µs a step",
    is_better_low=True,
    us=Side("mlwarehouse `run.log_metrics`", ours, 1_000_000),
    others=(
        Side("TensorBoard writer, ten calls", tensorboard, 50_000),
        Side("MLflow async, SQLite", mlflow_async, 5_000),
    ),
    bar=Bar("≤ 5 µs", lambda value, _: value <= 5),
)
