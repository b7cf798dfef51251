"""How a search grows with the warehouse: the same question to a hundredth of the runs, and to all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import Bar, Benchmark, Measured, Side
from benchmarks.million import MOST, RUNS, mlflow_at, mlflow_search, ours_at, timed
from benchmarks.search import FILTER, ORDER, answer, expected

TIMES = 100
BOTH = {"search_all_experiments": True, "filter_string": FILTER, "order_by": ORDER, "max_results": MOST}


def ours(place: Path, n: int) -> Measured:
    """Our search, first of the small warehouse."""
    from mlwarehouse import Warehouse

    def asker(size: int) -> Callable[[], Any]:
        warehouse = Warehouse(ours_at(place, size), committer="off")
        return lambda: warehouse.search_runs(**BOTH)

    return _compared(asker, n)


def theirs(place: Path, n: int) -> Measured:
    """MLflow's."""
    import mlflow

    def asker(size: int) -> Callable[[], Any]:
        mlflow.set_tracking_uri(mlflow_at(place, size))
        return lambda: mlflow_search(**BOTH)

    return _compared(asker, n)


def _compared(asker: Callable[[int], Callable[[], Any]], n: int) -> Measured:
    answers, costs = [], []
    for size in _sizes(n):
        _, usual, frame = timed(asker(size))
        answers.append(answer(frame, size))
        costs.append(1000 * usual)
    return Measured(
        costs[1] / costs[0], answers, extra={f"ms of {s}": c for s, c in zip(_sizes(n), costs, strict=True)}
    )


def _sizes(n: int) -> tuple[int, int]:
    return max(n // TIMES, 100), n


BENCHMARK = Benchmark(
    name="growth",
    what="10,000 runs, then 1 M: filter on metric and param over all experiments, the best 1,000 as a frame",
    unit="times as long",
    is_better_low=True,
    us=Side("mlwarehouse", ours, RUNS),
    others=(Side("MLflow, SQLite", theirs, RUNS),),
    bar=Bar("≤ 4", lambda value, _: value <= 4),
    expected=lambda n: [expected(size) for size in _sizes(n)],
)
