"""The same runs in our tables and in MLflow's SQLite file, made without either's logging calls."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

KEYS = 10
RUNS_PER_EXPERIMENT = 10_000
CHUNK = 100_000
FIRST_START_MS = 1_750_000_000_000
CURVE_STEPS = 5_000
CURVES_A_FILE = 200


def run_ids(first: int, last: int) -> list[str]:
    """Ids of runs by number."""
    return [hashlib.md5(str(i).encode(), usedforsecurity=False).hexdigest() for i in range(first, last)]


def values_of(first: int, last: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Params and metrics of runs by number, each of shape [runs, 10], float64, without ties among the metrics."""
    runs = np.arange(first, last, dtype=np.int64)[:, None]
    keys = np.arange(KEYS, dtype=np.int64)[None, :]
    params = (runs * 7919 + keys * 104_729) % 1000 / 1000
    metrics = ((runs * 2_654_435_761 + keys * 40_503) % 4_294_967_311) / 4_294_967_311
    return params, metrics


def experiment_of(number: int) -> int:
    """Which experiment a run belongs to, from 0."""
    return number // RUNS_PER_EXPERIMENT


def run_of_curve(curve: int, n: int) -> int:
    """The number of a run that has a curve, among ``n`` runs: those of the first experiment have them."""
    return curve % min(n, RUNS_PER_EXPERIMENT)


def curve_values(curve: int, n_steps: int = CURVE_STEPS) -> np.ndarray[Any, Any]:
    """The values of a curve at steps from 0, float64, of shape [n_steps]."""
    steps = np.arange(n_steps, dtype=np.int64)
    return ((curve * 7919 + steps * 104_729) % 1_000_003) / 1_000_003


def fill_ours(root: Path, n: int, *, n_curves: int = 0, n_steps: int = CURVE_STEPS) -> None:
    """Make a warehouse with ``n`` finished runs of ten params and ten metrics each, some with a curve of ``loss``."""
    from mlwarehouse import Warehouse

    warehouse = Warehouse(root, committer="off")
    warehouse.create()
    engine = warehouse.engine()
    n_experiments = experiment_of(n - 1) + 1
    zeros = _times(np.zeros(n_experiments, np.int64))
    _append(
        engine, "experiment_events", n_experiments,
        experiment_id=[str(e + 1) for e in range(n_experiments)], kind="created",
        name=[f"e{e}" for e in range(n_experiments)], actor="bench", event_at=zeros, recorded_at=zeros,
        writer_id="bench", writer_seq=np.arange(n_experiments),
    )  # fmt: skip
    for first in range(0, n, CHUNK):
        _append_runs(engine, first, min(first + CHUNK, n))
    for first in range(0, n_curves, CURVES_A_FILE):
        _append_curves(engine, first, min(first + CURVES_A_FILE, n_curves), n, n_steps)
    warehouse.close()


def _append_runs(engine: Any, first: int, last: int) -> None:
    size = last - first
    numbers = np.arange(first, last)
    ids = pa.array(run_ids(first, last))
    starts = (FIRST_START_MS + numbers * 1000) * 1000
    params, metrics = values_of(first, last)
    repeated = ids.take(pa.array(np.repeat(np.arange(size), KEYS)))
    envelope = {"writer_id": f"bench{first:011d}", "recorded_at": _times(np.full(size, starts[-1]))}
    many = {**envelope, "recorded_at": _times(np.full(size * KEYS, starts[-1])), "attempt": 0}
    _append(
        engine, "run_events", size, run_id=ids, kind="started", attempt=0,
        experiment_id=[str(experiment_of(i) + 1) for i in range(first, last)],
        name=[f"run-{i}" for i in range(first, last)], status="RUNNING", actor="bench",
        event_at=_times(starts), writer_seq=np.arange(size), **envelope,
    )  # fmt: skip
    _append(
        engine, "run_events", size, run_id=ids, kind="ended", attempt=0, status="FINISHED", actor="bench",
        event_at=_times(starts + 500_000), writer_seq=size + np.arange(size), **envelope,
    )  # fmt: skip
    _append(
        engine, "param_events", size * KEYS, run_id=repeated,
        key=pa.array([f"p{k}" for k in range(KEYS)]).take(pa.array(np.tile(np.arange(KEYS), size))),
        value=pa.array(params.ravel()).cast(pa.string()), value_number=params.ravel(),
        event_at=_times(np.repeat(starts, KEYS)), writer_seq=10 * size + np.arange(size * KEYS), **many,
    )  # fmt: skip
    _append(
        engine, "metrics", size * KEYS, run_id=repeated,
        key=pa.array([f"m{k}" for k in range(KEYS)]).take(pa.array(np.tile(np.arange(KEYS), size))),
        step=0, value=metrics.ravel(), event_at=_times(np.repeat(starts, KEYS)),
        writer_seq=100 * size + np.arange(size * KEYS), **many,
    )  # fmt: skip


def _append_curves(engine: Any, first: int, last: int, n: int, n_steps: int) -> None:
    size = (last - first) * n_steps
    numbers = [run_of_curve(curve, n) for curve in range(first, last)]
    ids = pa.array([run_ids(number, number + 1)[0] for number in numbers])
    starts = np.repeat((FIRST_START_MS + np.array(numbers) * 1000) * 1000, n_steps)
    steps = np.tile(np.arange(n_steps), last - first)
    _append(
        engine, "metrics", size, run_id=ids.take(pa.array(np.repeat(np.arange(last - first), n_steps))),
        key="loss", step=steps, value=np.concatenate([curve_values(c, n_steps) for c in range(first, last)]),
        event_at=_times(starts + steps * 1000), recorded_at=_times(starts), attempt=0,
        writer_id=f"curves{first:010d}", writer_seq=np.arange(size),
    )  # fmt: skip


def _times(values: np.ndarray[Any, Any]) -> pa.Array:
    return pa.array(values).cast(pa.timestamp("us", tz="UTC"))


def _append(engine: Any, table: str, size: int, **columns: Any) -> None:
    from mlwarehouse.tables import TABLES_BY_NAME

    arrays = []
    spec = TABLES_BY_NAME[table]
    for field in spec.arrow_schema():
        given = columns.get(field.name)
        if given is None:
            arrays.append(pa.nulls(size, field.type))
        elif isinstance(given, str | int):
            arrays.append(pa.repeat(pa.scalar(given, field.type), size))
        else:
            arrays.append(pa.array(given, field.type) if not isinstance(given, pa.Array) else given.cast(field.type))
    engine.append(spec, pa.table(arrays, schema=spec.arrow_schema()))


def fill_mlflow(root: Path, n: int, *, n_curves: int = 0) -> str:
    """Make MLflow's SQLite store with the same runs and curves.

    Returns:
        Its tracking address.
    """
    import sqlite3

    from mlflow import MlflowClient

    root.mkdir(parents=True, exist_ok=True)
    address = f"sqlite:///{root}/mlflow.db"
    client = MlflowClient(address)
    experiments = [client.create_experiment(f"e{e}") for e in range(experiment_of(n - 1) + 1)]
    with sqlite3.connect(root / "mlflow.db") as db:
        db.execute("PRAGMA synchronous = OFF")
        for first in range(0, n, CHUNK):
            last = min(first + CHUNK, n)
            ids = run_ids(first, last)
            params, metrics = values_of(first, last)
            starts = [FIRST_START_MS + i * 1000 for i in range(first, last)]
            db.executemany(
                "INSERT INTO runs (run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage, "
                "artifact_uri, experiment_id, source_type, source_name, entry_point_name, source_version) "
                "VALUES (?, ?, 'bench', 'FINISHED', ?, ?, 'active', ?, ?, 'UNKNOWN', '', '', '')",
                (
                    (run, f"run-{i}", s, s + 500, f"runs:/{run}", int(experiments[experiment_of(i)]))
                    for i, run, s in zip(range(first, last), ids, starts, strict=True)
                ),
            )
            texts = params.astype(str)
            db.executemany(
                "INSERT INTO params (run_uuid, key, value) VALUES (?, ?, ?)",
                ((run, f"p{k}", str(texts[i, k])) for i, run in enumerate(ids) for k in range(KEYS)),
            )
            for table in ("metrics", "latest_metrics"):
                db.executemany(
                    f"INSERT INTO {table} (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, 0, 0)",
                    ((run, f"m{k}", float(metrics[i, k]), starts[i]) for i, run in enumerate(ids) for k in range(KEYS)),
                )
        for curve in range(n_curves):
            number = run_of_curve(curve, n)
            run, start = run_ids(number, number + 1)[0], FIRST_START_MS + number * 1000
            values = curve_values(curve).tolist()
            insert = "(run_uuid, key, value, timestamp, step, is_nan) VALUES (?, 'loss', ?, ?, ?, 0)"
            rows = [(run, value, start + step, step) for step, value in enumerate(values)]
            db.executemany(f"INSERT INTO metrics {insert}", rows)
            db.execute(f"INSERT INTO latest_metrics {insert}", rows[-1])
        db.execute("ANALYZE")
    return address
