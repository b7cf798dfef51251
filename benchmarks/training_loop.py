"""What logging ten metrics each step takes from a real training loop: the same loop with and without it, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.commit_rate import as_steps
from benchmarks.harness import Bar, Benchmark, Measured, Side, answer_of, points

BLOCK_STEPS = 50
"""Steps with logging, then as many without, so that what else the machine does meets both alike."""

Log = Callable[[dict[str, float], int], Any]


def slowdown(log: Log, n: int) -> tuple[float, dict[str, float]]:
    """Train a small network, logging ten metrics a step in every other block of steps.

    Args:
        log: Logs the metrics of a step.
        n: Values to log.

    Returns:
        By how many percent a step takes longer with logging: the median over pairs of neighboring blocks; beside it
        the milliseconds of a step without.
    """
    import torch

    torch.manual_seed(0)
    # One thread trains; the committer has the other core, as data loaders have in practice.
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    inputs, labels = torch.randn(128, 256), torch.randint(0, 10, (128,))
    loss_of = torch.nn.CrossEntropyLoss()

    def train(steps: list[tuple[int, dict[str, float]]], is_logging: bool) -> float:
        started = time.perf_counter()
        for step, metrics in steps:
            optimizer.zero_grad()
            loss = loss_of(model(inputs), labels)
            loss.backward()
            optimizer.step()
            if is_logging:
                log(metrics, step)
        return (time.perf_counter() - started) / len(steps)

    steps = as_steps(points(n))
    train(steps[:BLOCK_STEPS], False)
    shares, without = [], []
    for start in range(0, len(steps), BLOCK_STEPS):
        block = steps[start : start + BLOCK_STEPS]
        logged, plain = train(block, True), train(block, False)
        shares.append(logged / plain - 1)
        without.append(plain)
    return 100 * statistics.median(shares), {"ms a step": 1000 * statistics.median(without)}


def ours(place: Path, n: int) -> Measured:
    """`run.log_metrics`, with the committer at work beside it."""
    import mlwarehouse as mlw

    warehouse = mlw.set_warehouse(place / "wh", capture_code=False)
    with mlw.start_run(experiment="bench") as run:
        value, extra = slowdown(run.log_metrics, n)
    (row,) = mlw.sql(
        "SELECT count(*) AS n, sum(value) AS s, max(step) AS m FROM metrics WHERE key LIKE 'm%'"
    ).itertuples()
    warehouse.flush()
    warehouse.close()
    return Measured(value, answer_of(int(row.n), float(row.s), int(row.m)), extra=extra)


def tensorboard(place: Path, n: int) -> Measured:
    """`SummaryWriter.add_scalar`, ten a step."""
    import numpy as np
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(place))

    def log(metrics: dict[str, float], step: int) -> None:
        for key, value in metrics.items():
            writer.add_scalar(key, value, step)

    value, extra = slowdown(log, n)
    writer.close()
    events = EventAccumulator(str(place), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    found = [(e.step, e.value) for key in events.Tags()["scalars"] for e in events.Scalars(key)]
    # It stores single precision: what was logged is compared after the same rounding.
    values = points(n)
    single = np.sort(np.array(values, np.float32))
    same = np.array_equal(single, np.sort(np.array([v for _, v in found], np.float32)))
    answer = answer_of(len(found), sum(values) if same else float("nan"), max(s for s, _ in found))
    return Measured(value, answer, extra=extra)


def mlflow_sync(place: Path, n: int) -> Measured:
    """`mlflow.log_metrics` into SQLite, as most scripts call it."""
    import sqlite3

    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
    mlflow.set_experiment("bench")
    with mlflow.start_run():
        value, extra = slowdown(lambda metrics, step: mlflow.log_metrics(metrics, step=step), n)
    with sqlite3.connect(place / "mlflow.db") as db:
        count, total, last = db.execute("select count(*), sum(value), max(step) from metrics").fetchone()
    return Measured(value, answer_of(count, total, last), extra=extra)


BENCHMARK = Benchmark(
    name="training-loop",
    what="train a small network, ten metrics a step",
    unit="% slower steps",
    is_better_low=True,
    us=Side("mlwarehouse `run.log_metrics`", ours, 60_000),
    others=(
        Side("TensorBoard writer", tensorboard, 60_000),
        Side("MLflow `log_metrics`, SQLite", mlflow_sync, 5_000),
    ),
    bar=Bar("< 2 %", lambda value, _: value < 2),
)
