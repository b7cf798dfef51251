"""One run of a million by `get_run`, as the first thing that a process asks."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.harness import Bar, Benchmark, Measured, Side
from benchmarks.many_runs import run_ids, values_of
from benchmarks.million import RUNS, mlflow_at, ours_at


def ours(place: Path, n: int) -> Measured:
    """Ours, from the opening of the warehouse on."""
    from mlwarehouse import Warehouse

    root, run_id = ours_at(place, n), _one(n)
    # Of another warehouse: what is imported at the first question is imported.
    other = Warehouse(place / "other", committer="off", capture_code=False)
    with other.start_run() as run:
        run.log_metric("m1", 1.0)
    other.get_run(run.run_id)
    other.close()
    before = time.perf_counter()
    warehouse = Warehouse(root, committer="off")
    value = warehouse.get_run(run_id).data.metrics["m1"]
    first = time.perf_counter() - before
    warehouse.close()
    return Measured(1000 * first, value)


def theirs(place: Path, n: int) -> Measured:
    """MLflow's, from the opening of the store on."""
    import mlflow

    address, run_id = mlflow_at(place, n), _one(n)
    mlflow.set_tracking_uri(f"sqlite:///{place}/other.db")
    with mlflow.start_run() as run:
        mlflow.log_metric("m1", 1.0)
    mlflow.get_run(run.info.run_id)
    before = time.perf_counter()
    mlflow.set_tracking_uri(address)
    value = mlflow.get_run(run_id).data.metrics["m1"]
    return Measured(1000 * (time.perf_counter() - before), value)


def _one(n: int) -> str:
    return run_ids(n // 3, n // 3 + 1)[0]


BENCHMARK = Benchmark(
    name="cold-run",
    what="1 M runs: `get_run` as the first question of a process that has imported what it needs",
    unit="ms",
    is_better_low=True,
    us=Side("mlwarehouse", ours, RUNS),
    others=(Side("MLflow, SQLite", theirs, RUNS),),
    bar=Bar("≤ 30 ms", lambda value, _: value <= 30),
    expected=lambda n: float(values_of(n // 3, n // 3 + 1)[1][0, 1]),
)
