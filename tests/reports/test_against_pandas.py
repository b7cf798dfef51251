"""Each report over generated runs equals the same computed with pandas and numpy, on both engines."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reports import expected
from tests.reports.conftest import LATER, AskReport, assert_same
from tests.reports.data import DAY, METRIC, MadeRun, made_runs, rows
from tests.views.rows import NOON

WEEKLY = ("week", "experiment_id", "user_id")
PRICES = (2.0, 3.0, 0.25)


def at(seconds: float) -> dt.datetime:
    return NOON + dt.timedelta(seconds=seconds)


DIRECTIONS = ("min", "max")
STATS = ("last", "first", "min", "max", "mean")


def check_all(ask: AskReport, runs: list[MadeRun], directions: Sequence[str], stats: Sequence[str]) -> None:
    """Every report over runs."""
    given = rows(runs)

    def check(name: str, wanted: expected.Rows, keys: tuple[str, ...], **parameters: Any) -> None:
        assert_same(ask(name, given, **parameters), wanted, keys)

    if any(r.counts and r.points for r in runs):
        for direction in directions:
            goal: dict[str, Any] = {"metric": METRIC, "direction": direction}
            check("progress", expected.progress(runs, direction), ("day",), **goal)
            sweep = ("sweep_type", "sweep_id")
            check("sweep_trials", expected.sweep_trials(runs, direction), (*sweep, "run_id"), **goal)
            check("sweeps", expected.sweeps(runs, direction), sweep, **goal)
            period = {"since": at(DAY), "until": at(9 * DAY + 7260)}
            wanted = expected.changes(runs, direction, DAY, 9 * DAY + 7260)
            check("changes", wanted, ("at", "kind", "run_id"), **period, **goal)
        for stat in stats:
            values: dict[str, Any] = {"metric": METRIC, "stat": stat}
            check("seeds", expected.seeds(runs, stat), ("experiment_id", "config"), **values)
            check("importance_inputs", expected.importance_inputs(runs, stat), ("run_id", "param"), **values)
            check("importance", expected.importance(runs, stat), ("param",), **values)
    check("throughput", expected.throughput(runs), WEEKLY)
    names = ("price_per_hour", "price_per_gpu_hour", "price_per_core_hour")
    wanted = expected.cost(runs, (LATER - NOON).total_seconds(), PRICES)
    check("cost", wanted, WEEKLY, **dict(zip(names, PRICES, strict=True)))


def test_reports_equal_pandas(ask: AskReport) -> None:
    check_all(ask, made_runs(seed=1, n=90), ["max"], ["last"])


def test_reports_equal_pandas_for_each_value_of_a_run(embedded: AskReport) -> None:
    check_all(embedded, made_runs(seed=4, n=60), DIRECTIONS, STATS)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 25),
    direction=st.sampled_from(DIRECTIONS),
    stat=st.sampled_from(STATS),
)
def test_reports_equal_pandas_whatever_the_runs(
    embedded: AskReport, seed: int, n: int, direction: str, stat: str
) -> None:
    check_all(embedded, made_runs(seed, n), [direction], [stat])


def test_only_some_experiments(embedded: AskReport) -> None:
    runs = made_runs(seed=2, n=40)
    wanted = expected.progress(runs, "min", ["alpha"])
    assert_same(embedded("progress", rows(runs), metric=METRIC, experiments="alpha"), wanted, ("day",))
    assert len(wanted) > 1


def test_the_interval_is_students_for_any_number_of_seeds(embedded: AskReport) -> None:
    sizes = (2, 3, 31, 32, 33, 60, 400)
    runs = [
        MadeRun(f"r{n}-{i}", params={"n": str(n), "seed": str(i)}, points=[float(i % 7)])
        for n in sizes
        for i in range(n)
    ]
    found = {r["config"]: r for r in embedded("seeds", rows(runs), metric=METRIC)}
    for wanted in expected.seeds(runs, "last"):
        assert found[wanted["config"]]["n"] == wanted["n"]
        assert found[wanted["config"]]["upper"] == pytest.approx(wanted["upper"], abs=1e-7)
        assert found[wanted["config"]]["lower"] == pytest.approx(wanted["lower"], abs=1e-7)
    assert len(found) == len(sizes)


def test_huge_and_close_values_have_the_right_spread(ask: AskReport) -> None:
    values = {"a": [1e200, 3e200, 2e200], "b": [1e9 + 1, 1e9 + 2, 1e9 + 3], "c": [5.0, 5.0, 5.0]}
    runs = [
        MadeRun(f"{name}{i}", params={"config": name, "seed": str(i)}, points=[v])
        for name, group in values.items()
        for i, v in enumerate(group)
    ]
    found = {r["config"]: r["std"] for r in ask("seeds", rows(runs), metric=METRIC)}
    # The squares of the first are beyond what a double holds.
    assert found == {"config=a": float("inf"), "config=b": 1.0, "config=c": 0.0}


def test_configurations_that_read_alike_are_told_apart(ask: AskReport) -> None:
    runs = [
        MadeRun("r1", params={"a": "1, b=2"}, points=[1.0]),
        MadeRun("r2", params={"a": "1", "b": "2"}, points=[1.0]),
        MadeRun("r3", params={}, points=[1.0]),
        MadeRun("r4", params={"my_seed": "3"}, points=[2.0]),
    ]
    found = ask("seeds", rows(runs), metric=METRIC, seed_params="my_seed")
    alike = ("a=1, b=2", 1, 1.0)
    assert sorted((r["config"], r["n"], r["mean"]) for r in found) == [("", 2, 1.5), alike, alike]


def test_rows_come_in_order(embedded: AskReport) -> None:
    given = rows(made_runs(seed=3, n=60))
    keys = [(r["week"], r["experiment_name"], r["user_id"] or "~") for r in embedded("throughput", given)]
    assert keys == sorted(keys)
    assert len(keys) > 5
    strength = [
        -1 if r["spearman"] is None else abs(r["spearman"]) for r in embedded("importance", given, metric=METRIC)
    ]
    assert strength == sorted(strength, reverse=True)
    moments = [r["at"] for r in embedded("changes", given, since=NOON)]
    assert moments == sorted(moments)
