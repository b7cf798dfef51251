"""Importing what MLflow has: a database of one large table of points, and a folder of many small files."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from benchmarks.commit_rate import read_back
from benchmarks.harness import Bar, Benchmark, Measured, Side, points

KEYS = 10
RUN_POINTS = 5_000
START = 1_700_000_000_000

SCHEMA = """
    CREATE TABLE experiments (
        experiment_id INTEGER PRIMARY KEY, name TEXT, lifecycle_stage TEXT, creation_time BIGINT
    );
    CREATE TABLE runs (
        run_uuid TEXT PRIMARY KEY, name TEXT, user_id TEXT, status TEXT, start_time BIGINT, end_time BIGINT,
        lifecycle_stage TEXT, artifact_uri TEXT, experiment_id INTEGER
    );
    CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT, PRIMARY KEY (key, run_uuid));
    CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT, PRIMARY KEY (key, run_uuid));
    CREATE TABLE metrics (
        key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT, step BIGINT, is_nan BOOLEAN,
        PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan)
    );
    CREATE INDEX index_metrics_run_uuid ON metrics (run_uuid);
    INSERT INTO experiments VALUES (1, 'bench', 'active', 0);
"""
"""What is read of MLflow's schema, with its keys and index: they are most of such a file's size."""


def database(place: Path, n: int) -> Measured:
    """`import_` of a SQLite file."""
    path = place / "mlflow.db"
    with sqlite3.connect(path) as made:
        made.execute("PRAGMA synchronous = OFF")
        made.executescript(SCHEMA)
        runs = [f"{run:032x}" for run in range(-(-n // RUN_POINTS))]
        made.executemany(
            f"INSERT INTO runs VALUES (?, 'run', 'ann', 'FINISHED', {START}, {START + 1}, 'active', '', 1)",
            [(run,) for run in runs],
        )
        made.executemany("INSERT INTO params VALUES ('lr', '0.1', ?)", [(run,) for run in runs])
        made.executemany(
            "INSERT INTO metrics VALUES (?, ?, ?, ?, ?, 0)",
            ((f"m{i % KEYS}", v, START + i, runs[i // RUN_POINTS], i) for i, v in enumerate(points(n))),
        )
    made.close()
    return _imported(place, path, n)


def folder(place: Path, n: int) -> Measured:
    """`import_` of an `mlruns` folder: runs of 20 params and ten metrics of 30 points each."""
    values = iter(enumerate(points(n)))
    root = place / "mlruns"
    for run in range(n // 300):
        run_id = f"{run:032x}"
        home = root / "1" / run_id
        for kind in ("metrics", "params"):
            (home / kind).mkdir(parents=True)
        (home / "meta.yaml").write_text(
            f"run_id: {run_id}\nstart_time: {START}\nend_time: {START + 1}\nstatus: 3\nlifecycle_stage: active\n"
        )
        for k in range(20):
            (home / "params" / f"p{k}").write_text(str(k))
        for k in range(KEYS):
            some = [next(values) for _ in range(30)]
            (home / "metrics" / f"m{k}").write_text("".join(f"{START + i} {v!r} {i}\n" for i, v in some))
    (root / "1" / "meta.yaml").write_text("experiment_id: '1'\nname: bench\nlifecycle_stage: active\n")
    return _imported(place, root, n)


def _imported(place: Path, source: Path, n: int) -> Measured:
    import mlwarehouse as mlw

    warehouse = mlw.set_warehouse(place / "wh", committer="off", system_metrics_s=0)
    warehouse.create()
    warehouse.engine()
    began = time.perf_counter()
    report = warehouse.import_(source)
    took = time.perf_counter() - began
    assert report.added["points"] == n
    answer, n_bytes = read_back(warehouse.root / "tables" / "metrics")
    began = time.perf_counter()
    assert not any(warehouse.import_(source).added.values())
    again = time.perf_counter() - began
    warehouse.close()
    return Measured(n / took, answer, extra={"s": took, "s again": again, "MB of points": n_bytes / 1e6})


BENCHMARKS = (
    Benchmark(
        name="import_db",
        what="importing an MLflow database of 5 M points",
        unit="points/s",
        is_better_low=False,
        us=Side("mlwarehouse `import_`", database, 5_000_000),
        others=(),
        bar=Bar("≤ 60 s", lambda value, _: value >= 5_000_000 / 60),
    ),
    Benchmark(
        name="import_mlruns",
        what="importing an `mlruns` folder of 5,000 runs in 155,000 files",
        unit="points/s",
        is_better_low=False,
        us=Side("mlwarehouse `import_`", folder, 1_500_000),
        others=(),
        bar=Bar("≤ 30 s", lambda value, _: value >= 1_500_000 / 30),
    ),
)
