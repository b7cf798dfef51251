"""From a call that logs to a row in a committed table: points a second, beside the peers' way to the same."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Bar, Benchmark, Measured, Side, answer_of, points

KEYS = 10


def ours(place: Path, n: int) -> Measured:
    """Log from one process while the committer commits beside it; timed until everything is committed."""
    import mlwarehouse as mlw

    warehouse = mlw.set_warehouse(place / "wh", capture_code=False, system_metrics_s=0)
    warehouse.create()
    with mlw.start_run(experiment="warm-up"):
        # The committer is a process of its own that lives as long as somebody logs: its start isn't the rate.
        mlw.log_param("warm", "up")
    warehouse.flush()
    steps = as_steps(points(n))
    with mlw.start_run(experiment="bench") as run:
        started = time.perf_counter()
        for step, metrics in steps:
            run.log_metrics(metrics, step)
        logged = time.perf_counter() - started
    warehouse.flush(timeout_s=300)
    took = time.perf_counter() - started
    answer, n_bytes = read_back(warehouse.root / "tables" / "metrics")
    warehouse.close()
    return Measured(n / took, answer, extra={"log calls alone": n / logged, "bytes a point": n_bytes / n})


def drain_alone(place: Path, n: int) -> Measured:
    """The committer's part alone: from a full spool to committed tables."""
    import mlwarehouse as mlw

    warehouse = mlw.set_warehouse(place / "wh", capture_code=False, committer="off", system_metrics_s=0)
    warehouse.create()
    with mlw.start_run(experiment="warm-up"):
        mlw.log_metrics({"warm": 1.0}, 0)
    warehouse.flush()
    steps = as_steps(points(n))
    with mlw.start_run(experiment="bench") as run:
        for step, metrics in steps:
            run.log_metrics(metrics, step)
    started = time.perf_counter()
    warehouse.flush()
    took = time.perf_counter() - started
    answer, _ = read_back(warehouse.root / "tables" / "metrics")
    warehouse.close()
    return Measured(n / took, answer)


def as_steps(values: list[float]) -> list[tuple[int, dict[str, float]]]:
    """The values as a training loop has them: ten metrics a step; a step's number is that of its last value."""
    keys = [f"m{k}" for k in range(KEYS)]
    return [
        (min(start + KEYS, len(values)) - 1, dict(zip(keys, values[start : start + KEYS], strict=False)))
        for start in range(0, len(values), KEYS)
    ]


def read_back(table: Path) -> tuple[tuple[int, float, int], int]:
    """The answer as any Delta reader finds it, and the bytes of the table's files."""
    from deltalake import DeltaTable

    rows = DeltaTable(table).to_pyarrow_table(columns=["key", "value", "step"]).filter(not_warm_up())
    answer = answer_of(rows.num_rows, sum(rows["value"].to_pylist()), max(rows["step"].to_pylist()))
    return answer, sum(f.stat().st_size for f in table.glob("*.parquet"))


def not_warm_up() -> Any:
    """Rows but those of the warm-up."""
    import pyarrow.compute as pc

    return pc.field("key") != "warm"


def bare_delta(place: Path, n: int) -> Measured:
    """The limit: one `write_deltalake` of columns that are in memory already."""
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    values = points(n)
    table = pa.table(
        {
            "run_id": pa.array(["a" * 32] * n),
            "key": pa.array([f"m{i % KEYS}" for i in range(n)]),
            "step": pa.array(range(n)),
            "value": pa.array(values),
            "event_at": pa.array(range(n)).cast(pa.timestamp("us", tz="UTC")),
        }
    )
    started = time.perf_counter()
    write_deltalake(place / "t", table)
    took = time.perf_counter() - started
    back = DeltaTable(place / "t").to_pyarrow_table(columns=["value", "step"])
    return Measured(n / took, answer_of(back.num_rows, sum(back["value"].to_pylist()), max(back["step"].to_pylist())))


def mlflow_batches(place: Path, n: int) -> Measured:
    """`MlflowClient.log_batch` of 1,000 points a call into SQLite: MLflow's fastest way."""
    import sqlite3

    from mlflow import MlflowClient
    from mlflow.entities import Metric

    values = points(n)
    client = MlflowClient(f"sqlite:///{place}/mlflow.db")
    run_id = client.create_run(client.create_experiment("bench")).info.run_id
    started = time.perf_counter()
    for start in range(0, n, 1000):
        batch = [
            Metric(f"m{step % KEYS}", value, 1_700_000_000_000 + step, step)
            for step, value in enumerate(values[start : start + 1000], start)
        ]
        client.log_batch(run_id, metrics=batch)
    took = time.perf_counter() - started
    with sqlite3.connect(place / "mlflow.db") as db:
        count, total, last = db.execute("select count(*), sum(value), max(step) from metrics").fetchone()
    size = (place / "mlflow.db").stat().st_size
    return Measured(n / took, answer_of(count, total, last), extra={"bytes a point": size / n})


def tensorboard(place: Path, n: int) -> Measured:
    """`SummaryWriter.add_scalar` until the file is closed."""
    import numpy as np
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    values = points(n)
    started = time.perf_counter()
    writer = SummaryWriter(str(place))
    for step, value in enumerate(values):
        writer.add_scalar(f"m{step % KEYS}", value, step)
    writer.close()
    took = time.perf_counter() - started
    events = EventAccumulator(str(place), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    found = [e for k in range(KEYS) for e in events.Scalars(f"m{k}")]
    single = np.array(values, np.float32)
    same = all(e.value == single[e.step] for e in found)
    answer = answer_of(len(found), sum(values) if same else float("nan"), max(e.step for e in found))
    size = sum(f.stat().st_size for f in place.glob("events*"))
    return Measured(n / took, answer, extra={"bytes a point": size / n})


BENCHMARK = Benchmark(
    name="commit-rate",
    what="logged until committed, ten metrics a step",
    unit="points/s",
    is_better_low=False,
    us=Side("mlwarehouse, `log_metrics` and committer together", ours, 5_000_000),
    others=(
        Side("mlwarehouse, the committer alone", drain_alone, 5_000_000),
        Side("bare Delta write (limit)", bare_delta, 2_000_000),
        Side("TensorBoard writer", tensorboard, 100_000),
        Side("MLflow `log_batch`, SQLite", mlflow_batches, 50_000),
    ),
    bar=Bar("≥ 1 M points/s", lambda value, _: value >= 1e6),
)
