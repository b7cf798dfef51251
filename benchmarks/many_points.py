"""A hundred million metric points: folding them, and the best value of each curve."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Bar, Benchmark, Measured, Side
from benchmarks.many_runs import curve_values, fill_ours
from benchmarks.million import timed
from benchmarks.stores import store

CURVES = 10_000
STEPS = 10_000


def ours(place: Path, n: int) -> Measured:
    """Ours: from the kept fold, whose making is stated apart and counts in the peak of memory."""
    from mlwarehouse import Warehouse

    root = _root(place, n)
    fold = float((root / "folded_s").read_text(encoding="ascii"))
    warehouse = Warehouse(root, committer="off")
    query = "SELECT run_id, min AS best FROM metric_summaries WHERE key = 'loss'"
    first, usual, frame = timed(lambda: warehouse.sql(query))
    warehouse.close()
    return Measured(1000 * usual, _answer(frame), extra={"first": 1000 * first, "s to fold all points": fold})


def bare(place: Path, n: int) -> Measured:
    """DuckDB over the same files, which compares each point."""
    import duckdb

    files = [str(p) for p in (_root(place, n) / "tables" / "metrics").glob("*.parquet")]
    query = "SELECT run_id, min(value) AS best FROM read_parquet($files) WHERE key = 'loss' GROUP BY run_id"
    first, usual, frame = timed(lambda: duckdb.execute(query, {"files": files}).df())
    return Measured(1000 * usual, _answer(frame), extra={"first": 1000 * first})


def _root(place: Path, n: int) -> Path:
    def make(folder: Path) -> None:
        from mlwarehouse import Warehouse

        fill_ours(folder, n, n_curves=n, n_steps=STEPS)
        before = time.perf_counter()
        Warehouse(folder, committer="off").maintain()
        (folder / "folded_s").write_text(str(time.perf_counter() - before), encoding="ascii")

    return store(f"ours-curves-{n}", place, make)


def _answer(frame: Any) -> tuple[int, float]:
    return len(frame), round(float(frame["best"].sum()), 6)


BENCHMARK = Benchmark(
    name="many-points",
    what="100 M points: the best value of each of 10,000 curves of 10,000 points",
    unit="ms",
    is_better_low=True,
    us=Side("mlwarehouse", ours, CURVES),
    others=(Side("bare DuckDB over the tables' files, `GROUP BY` (limit of a scan)", bare, CURVES),),
    bar=Bar("≥ 100 times a scan of all points", lambda value, best: best >= 100 * value),
    expected=lambda n: (n, round(sum(float(curve_values(c, STEPS).min()) for c in range(n)), 6)),
)
