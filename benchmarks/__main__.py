"""Runs the benchmarks: ``python -m benchmarks [NAME ...] [--repeats N] [--scale X]``."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import tempfile
from pathlib import Path

from benchmarks import (
    bulk,
    cold_run,
    commit_rate,
    event_files,
    flat_commits,
    growth,
    imports,
    log_cost,
    log_ten,
    many_models,
    many_points,
    million,
    rest,
    scoring,
    search,
    spark_scoring,
    training_loop,
)
from benchmarks.harness import Benchmark, run_benchmark
from benchmarks.stores import VARIABLE

BENCHMARKS: tuple[Benchmark, ...] = (
    log_cost.BENCHMARK,
    log_ten.BENCHMARK,
    training_loop.BENCHMARK,
    commit_rate.BENCHMARK,
    bulk.BENCHMARK,
    flat_commits.BENCHMARK,
    search.BENCHMARK,
    *million.BENCHMARKS,
    cold_run.BENCHMARK,
    growth.BENCHMARK,
    many_points.BENCHMARK,
    *many_models.BENCHMARKS,
    *imports.BENCHMARKS,
    event_files.BENCHMARK,
    *spark_scoring.BENCHMARKS,
    scoring.BENCHMARK,
    *rest.BENCHMARKS,
)

HEAD = "| work | side | median | ratio to us | peak memory | bar |\n| --- | --- | --- | --- | --- | --- |"
RESULTS = Path(__file__).parent / "results.md"
README = Path(__file__).parent.parent / "README.md"
OPENING, CLOSING = "<!-- bench -->", "<!-- /bench -->"


def main() -> None:
    """Run what is asked for; at full size its rows in `results.md` and in the README's table are written anew."""
    parser = argparse.ArgumentParser(description="Run benchmarks: us and the peers side by side, answers checked.")
    parser.add_argument("names", nargs="*", choices=[[], *[b.name for b in BENCHMARKS]], help="which; all by default")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each side; the median is printed")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size, for a quick look")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlwarehouse-bench-stores-") as stores:
        os.environ.setdefault(VARIABLE, stores)
        found = {
            benchmark.what: run_benchmark(benchmark, repeats=arguments.repeats, scale=arguments.scale)
            for benchmark in BENCHMARKS
            if not arguments.names or benchmark.name in arguments.names
        }
    print("\n".join([HEAD, *(row for rows in found.values() for row in rows)]))
    if arguments.scale != 1.0:
        return
    table = "\n".join([HEAD, *(row for b in BENCHMARKS for row in found.get(b.what, known_rows(b)))])
    where = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    note = f"Medians, last written {dt.date.today()}, {where}; a ratio above 1 means that we do better."
    RESULTS.write_text(f"# Benchmark results\n\n{note}\n\n{table}\n", encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(OPENING)
    _, _, after = rest.partition(CLOSING)
    README.write_text(f"{before}{OPENING}\n{note}\n\n{table}\n{CLOSING}{after}", encoding="utf-8")


def known_rows(benchmark: Benchmark) -> list[str]:
    """What `results.md` has of a benchmark."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return [line for line in lines if line.startswith(f"| {benchmark.what} |")]


if __name__ == "__main__":
    main()
