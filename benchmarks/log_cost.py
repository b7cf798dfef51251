"""What one `log_metric` costs the training loop, beside the peers' calls for the same."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.harness import Bar, Benchmark, Measured, Side, answer_of, points

WARM_UP = 100
THREADS = 4


def timed(log: Callable[[float, int], None], values: list[float]) -> tuple[float, dict[str, float]]:
    """Time each call by itself.

    Returns:
        The median of a call in microseconds, the timer's own cost taken off, and p99 and the first call beside it.
    """
    clock = time.perf_counter_ns
    empty = []
    for _ in range(2000):
        before = clock()
        empty.append(clock() - before)
    timer = statistics.median(empty)
    costs = []
    for step, value in enumerate(values):
        before = clock()
        log(value, step)
        costs.append(clock() - before - timer)
    warm = sorted(costs[WARM_UP:])
    extra = {"p99": warm[int(len(warm) * 0.99)] / 1000, "first": costs[0] / 1000}
    return statistics.median(warm) / 1000, extra


def ours(place: Path, n: int) -> Measured:
    """`run.log_metric`, with a committer at work beside it."""
    import mlwarehouse as mlw

    values = points(n)
    mlw.set_warehouse(place / "wh", capture_code=False, system_metrics_s=0)
    with mlw.start_run(experiment="bench") as run:
        cost, extra = timed(lambda value, step: run.log_metric("loss", value, step), values)
    (row,) = mlw.sql("SELECT count(*) AS n, sum(value) AS s, max(step) AS m FROM metrics").itertuples()
    mlw.flush()
    mlw.get_warehouse().close()
    return Measured(cost, answer_of(int(row.n), float(row.s), int(row.m)), extra=extra)


def ours_fluent(place: Path, n: int) -> Measured:
    """`mlwarehouse.log_metric`: the module's function, which finds the active run."""
    import mlwarehouse as mlw

    values = points(n)
    mlw.set_warehouse(place / "wh", capture_code=False, system_metrics_s=0)
    with mlw.start_run(experiment="bench"):
        cost, extra = timed(lambda value, step: mlw.log_metric("loss", value, step), values)
    (row,) = mlw.sql("SELECT count(*) AS n, sum(value) AS s, max(step) AS m FROM metrics").itertuples()
    mlw.flush()
    mlw.get_warehouse().close()
    return Measured(cost, answer_of(int(row.n), float(row.s), int(row.m)), extra=extra)


def ours_threads(place: Path, n: int) -> Measured:
    """`run.log_metric` from four threads at once, each a quarter of the points; a call's time includes waiting."""
    import threading

    import mlwarehouse as mlw

    values = points(n)
    mlw.set_warehouse(place / "wh", capture_code=False, system_metrics_s=0)
    found: list[tuple[float, dict[str, float]]] = []
    with mlw.start_run(experiment="bench") as run:

        def log_quarter(first: int) -> None:
            mine = values[first::THREADS]
            found.append(timed(lambda value, i: run.log_metric("loss", value, first + i * THREADS), mine))

        threads = [threading.Thread(target=log_quarter, args=(first,)) for first in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (row,) = mlw.sql("SELECT count(*) AS n, sum(value) AS s, max(step) AS m FROM metrics").itertuples()
    mlw.flush()
    mlw.get_warehouse().close()
    extra = {"p99": statistics.median(e["p99"] for _, e in found)}
    return Measured(
        statistics.median(c for c, _ in found), answer_of(int(row.n), float(row.s), int(row.m)), extra=extra
    )


def tensorboard(place: Path, n: int) -> Measured:
    """`SummaryWriter.add_scalar`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    values = points(n)
    writer = SummaryWriter(str(place))
    cost, extra = timed(lambda value, step: writer.add_scalar("loss", value, step), values)
    writer.close()
    events = EventAccumulator(str(place), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    found = events.Scalars("loss")
    # It stores single precision: the sum is compared after the same rounding of what was logged.
    import numpy as np

    single = np.array(values, np.float32)
    same = np.array([e.value for e in found], np.float32)
    total = sum(values) if np.array_equal(single, same) else float("nan")
    return Measured(cost, answer_of(len(found), total, max(e.step for e in found)), extra=extra)


def trackio(place: Path, n: int) -> Measured:
    """`trackio.log` into its local database."""
    os.environ["TRACKIO_DIR"] = str(place)
    os.environ["HF_HUB_OFFLINE"] = "1"
    import sqlite3

    import trackio

    values = points(n)
    trackio.init(project="bench", embed=False)
    cost, extra = timed(lambda value, step: trackio.log({"loss": value}, step=step), values)
    trackio.finish()
    (file,) = place.glob("*.db")
    with sqlite3.connect(file) as db:
        import json

        rows = [(json.loads(m)["loss"], s) for m, s in db.execute("select metrics, step from metrics")]
    return Measured(cost, answer_of(len(rows), sum(r[0] for r in rows), max(r[1] for r in rows)), extra=extra)


def wandb_offline(place: Path, n: int) -> Measured:
    """`wandb.log` in offline mode."""
    os.environ["WANDB_MODE"] = "offline"
    os.environ["WANDB_SILENT"] = "true"
    os.environ["WANDB_DIR"] = str(place)
    import json

    import wandb
    from wandb.proto import wandb_internal_pb2

    values = points(n)
    run = wandb.init(project="bench", settings=wandb.Settings(x_disable_stats=True, console="off"))
    cost, extra = timed(lambda value, step: run.log({"loss": value}, step=step), values)
    run.finish()
    (file,) = place.rglob("*.wandb")
    found = []
    for data in leveldb_records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item}
            found.append((items["loss"], items["_step"]))
    return Measured(cost, answer_of(len(found), sum(f[0] for f in found), max(f[1] for f in found)), extra=extra)


def leveldb_records(data: bytes) -> Iterator[bytes]:
    """The records of a `.wandb` file: a header of seven bytes, then LevelDB's log format.

    Blocks of 32 KiB; each piece has a check sum, a length of two bytes and a kind (whole, first, middle, last).
    """
    at, parts = 7, []
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        if kind == 0:
            break
        parts.append(data[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (1, 4):
            yield b"".join(parts)
            parts = []


def mlflow_async(place: Path, n: int) -> Measured:
    """`mlflow.log_metric(..., synchronous=False)` into SQLite."""
    import mlflow

    values = points(n)
    mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
    mlflow.set_experiment("bench")
    with mlflow.start_run() as run:
        cost, extra = timed(lambda value, step: mlflow.log_metric("loss", value, step, synchronous=False), values)
        mlflow.flush_async_logging()
    found = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    return Measured(cost, answer_of(len(found), sum(m.value for m in found), max(m.step for m in found)), extra=extra)


def raw_write(place: Path, n: int) -> Measured:
    """For scale: packing a point and writing it by one system call, without key, lock or check sum."""
    import struct

    values = points(n)
    pack = struct.Struct("<qd").pack
    fd = os.open(place / "points", os.O_WRONLY | os.O_CREAT)
    cost, extra = timed(lambda value, step: os.write(fd, pack(step, value)) and None, values)
    os.close(fd)
    found = list(struct.iter_unpack("<qd", (place / "points").read_bytes()))
    return Measured(cost, answer_of(len(found), sum(f[1] for f in found), max(f[0] for f in found)), extra=extra)


BENCHMARK = Benchmark(
    name="log-cost",
    what="log one metric point",
    unit="µs a call",
    is_better_low=True,
    us=Side("mlwarehouse `run.log_metric`", ours, 300_000),
    others=(
        Side("mlwarehouse `mlw.log_metric`", ours_fluent, 300_000),
        Side("mlwarehouse `run.log_metric`, four threads at once", ours_threads, 300_000),
        Side("one raw `os.write`, for scale", raw_write, 300_000),
        Side("Trackio", trackio, 5_000),
        Side("TensorBoard writer", tensorboard, 20_000),
        Side("W&B offline", wandb_offline, 5_000),
        Side("MLflow async, SQLite", mlflow_async, 2_000),
    ),
    bar=Bar("≤ 1.2 µs", lambda value, _: value <= 1.2),
)
