"""What logging ten metrics each step takes from a real training loop: the same loop with and without it, in turns."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from benchmarks.commit_rate import as_steps
from benchmarks.harness import Bar, Benchmark, Measured, Side, points
from benchmarks.log_ten import Log, logged_by_mlflow, logged_by_tensorboard, logged_by_us

BLOCK_STEPS = 50
"""Steps with logging, then as many without, so that what else the machine does meets both alike."""


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
    """`run.log_metrics`; system metrics are captured beside it, as by default."""
    return logged_by_us(place, n, slowdown)


def tensorboard(place: Path, n: int) -> Measured:
    """`SummaryWriter.add_scalar`."""
    return logged_by_tensorboard(place, n, slowdown)


def mlflow_sync(place: Path, n: int) -> Measured:
    """`mlflow.log_metrics`, as most scripts call it."""
    return logged_by_mlflow(place, n, slowdown, synchronous=True)


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
