"""Benchmarks run, and refuse a side whose answer is wrong. How fast they find us isn't tested: machines differ."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.harness import Measured, Side, run_benchmark
from benchmarks.stores import VARIABLE


@pytest.fixture(autouse=True)
def stores(tmp_path, monkeypatch):
    """A folder for what several sides read, as the command makes one."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))


def lossy(place, n):
    return Measured(1.0, (n - 1, 0.0, n - 1))


def absent(place, n):
    import a_peer_that_nobody_has  # noqa: F401

    raise AssertionError


# Of those on Spark one: each starts a session of its own.
SKIPPED = {"spark_udf", "spark_text"}
RUN = [
    pytest.param(b, marks=[pytest.mark.spark] if b.name.startswith("spark") else [], id=b.name)
    for b in BENCHMARKS
    if b.name not in SKIPPED
]


@pytest.mark.parametrize("benchmark", RUN)
def test_our_side_runs_and_is_checked(benchmark):
    without = dataclasses.replace(benchmark, others=(Side("a peer that isn't there", absent, 100),))
    rows = run_benchmark(without, repeats=1, scale=0.001)
    assert benchmark.unit in rows[0]
    assert benchmark.bar.text in rows[0]
    assert "not measured: a_peer_that_nobody_has isn't installed" in rows[1]


def test_a_wrong_answer_ends_the_run():
    benchmark = dataclasses.replace(BENCHMARKS[0], us=Side("us", lossy, 100), others=())
    with pytest.raises(SystemExit, match="us read back"):
        run_benchmark(benchmark, repeats=1, scale=1.0)
