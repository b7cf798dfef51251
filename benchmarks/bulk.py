"""Metric points in bulk, from an Arrow table of many runs to committed rows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.commit_rate import bare_delta, mlflow_batches, read_back
from benchmarks.harness import Bar, Benchmark, Measured, Side, points

KEYS = 10


def ours(place: Path, n: int) -> Measured:
    """`Warehouse.bulk_log_metrics` of points in no order of runs, as an export has them."""
    import mlwarehouse as mlw

    warehouse = mlw.set_warehouse(place / "wh", capture_code=False, committer="off", system_metrics_s=0)
    warehouse.create()
    with mlw.start_run(experiment="bench") as run:
        pass
    warehouse.flush()
    table = rows(n, run.run_id)
    started = time.perf_counter()
    warehouse.bulk_log_metrics(table, source_id="bench")
    took = time.perf_counter() - started
    answer, n_bytes = read_back(warehouse.root / "tables" / "metrics")
    warehouse.close()
    return Measured(n / took, answer, extra={"bytes a point": n_bytes / n})


def rows(n: int, run_id: str) -> Any:
    """The points: ten keys in turns."""
    import numpy as np
    import pyarrow as pa

    keys = pa.DictionaryArray.from_arrays(pa.array(np.arange(n) % KEYS), pa.array([f"m{k}" for k in range(KEYS)]))
    return pa.table(
        {
            "run_id": pa.repeat(pa.scalar(run_id), n),
            "key": keys.cast(pa.string()),
            "step": np.arange(n),
            "value": np.array(points(n)),
        }
    )


BENCHMARK = Benchmark(
    name="bulk",
    what="an Arrow table of points until committed",
    unit="points/s",
    is_better_low=False,
    us=Side("mlwarehouse `bulk_log_metrics`", ours, 3_000_000),
    others=(
        Side("bare Delta write, nothing checked or synced (limit)", bare_delta, 2_000_000),
        Side("MLflow `log_batch`, SQLite", mlflow_batches, 50_000),
    ),
    bar=Bar("≥ 1.5 M points/s", lambda value, _: value >= 1.5e6),
)
