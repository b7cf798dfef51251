"""Searching many runs for the best thousand, from a filter on a metric and a param to a frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import Bar, Benchmark, Measured, Side
from benchmarks.many_runs import KEYS, fill_mlflow, fill_ours, values_of

FILTER = "metrics.m3 > 0.5 and params.p2 LIKE '0.2%'"
ORDER = ["metrics.m3 DESC"]
MOST = 1000


def expected(n: int) -> tuple[Any, ...]:
    """How many runs are found, the name of the first and the last, and the sum of what was sorted by."""
    params, metrics = values_of(0, n)
    found = [i for i in range(n) if metrics[i, 3] > 0.5 and str(params[i, 2]).startswith("0.2")]
    found.sort(key=lambda i: -metrics[i, 3])
    top = found[:MOST]
    return len(top), top[0], top[-1], round(float(sum(metrics[i, 3] for i in top)), 6), KEYS


def answer(frame: Any, n: int) -> tuple[Any, ...]:
    """The same of a frame."""
    from benchmarks.many_runs import run_ids

    number = {run: i for i, run in enumerate(run_ids(0, n))}
    total = round(float(frame["metrics.m3"].sum()), 6)
    n_params = sum(c.startswith("params.") for c in frame.columns)
    return len(frame), number[frame.run_id.iloc[0]], number[frame.run_id.iloc[-1]], total, n_params


def timed(search: Callable[[], Any], n: int) -> Measured:
    """Search once cold, then five times; the figure is the median of the five, in milliseconds."""
    import statistics

    costs = []
    for _ in range(6):
        before = time.perf_counter()
        frame = search()
        costs.append(1000 * (time.perf_counter() - before))
    return Measured(statistics.median(costs[1:]), answer(frame, n), extra={"first": costs[0]})


def ours(place: Path, n: int) -> Measured:
    """`Warehouse.search_runs`, after one `maintain`."""
    from mlwarehouse import Warehouse

    fill_ours(place / "wh", n)
    warehouse = Warehouse(place / "wh")
    warehouse.maintain()
    arguments: dict[str, Any] = {"search_all_experiments": True}
    found = timed(lambda: warehouse.search_runs(filter_string=FILTER, order_by=ORDER, max_results=MOST, **arguments), n)
    warehouse.close()
    return found


def mlflow(place: Path, n: int) -> Measured:
    """`mlflow.search_runs` on SQLite."""
    import mlflow

    mlflow.set_tracking_uri(fill_mlflow(place / "mlflow", n))
    arguments: dict[str, Any] = {"search_all_experiments": True}
    return timed(lambda: mlflow.search_runs(filter_string=FILTER, order_by=ORDER, max_results=MOST, **arguments), n)


BENCHMARK = Benchmark(
    name="search",
    what="100,000 runs: filter on metric and param over all experiments, the best 1,000 as a frame",
    unit="ms",
    is_better_low=True,
    us=Side("mlwarehouse `search_runs`", ours, 100_000),
    others=(Side("MLflow `search_runs`, SQLite", mlflow, 100_000),),
    bar=Bar("≥ 20 times MLflow's speed", lambda value, best: best >= 20 * value),
    expected=expected,
)
