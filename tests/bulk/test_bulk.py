"""Many points at once: from arrays and frames, once by their source id, and only when all of them can be meant."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import InvalidInputError, NotFoundError

HISTORY = "SELECT run_id, key, step, value, context, attempt FROM metrics ORDER BY ALL"


def ask(warehouse: Warehouse, question: str) -> list[dict]:
    return warehouse.engine().query(question, reading=warehouse.reading()).to_pylist()


@pytest.fixture
def runs(warehouse) -> list[str]:
    found = []
    for number in range(3):
        with warehouse.start_run(experiment="e", run_name=f"r{number}") as run:
            found.append(run.run_id)
    return found


def points(runs: list[str]) -> dict[str, list]:
    return {
        "run_id": [runs[2], runs[0], runs[2], runs[1]],
        "key": ["loss", "loss", "acc", "loss"],
        "step": [3, 1, 3, 2],
        "value": [0.5, math.nan, math.inf, -1.0],
        "context": [None, '{"b": 1, "a": 2}', None, None],
    }


MAKERS = {
    "arrow": pa.table,
    "large text": lambda data: pa.table(data).cast(
        pa.schema(
            {
                "run_id": pa.large_string(),
                "key": pa.dictionary(pa.int8(), pa.large_string()),
                "step": pa.uint16(),
                "value": pa.float64(),
                "context": pa.string(),
            }
        )
    ),
    "pandas": pd.DataFrame,
    "categories": lambda data: pd.DataFrame(data).astype({"key": "category", "step": "int32"}),
    "polars": pl.DataFrame,
    "arrays": lambda data: {**data, "step": np.array(data["step"]), "value": np.array(data["value"])},
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_of_table_gives_the_same_points(warehouse, runs, kind):
    done = warehouse.bulk_log_metrics(MAKERS[kind](points(runs)), source_id="s")
    assert (done.source_id, done.n_points, done.is_new) == ("s", 4, True)
    rows = ask(warehouse, HISTORY)
    expected = sorted(zip(*points(runs).values(), strict=True), key=lambda p: p[:3])
    assert [(r["run_id"], r["key"], r["step"]) for r in rows] == [p[:3] for p in expected]
    assert [r["context"] for r in rows] == [p[4] and '{"a":2,"b":1}' for p in expected]
    assert all(
        a["value"] == p[3] or (math.isnan(a["value"]) and math.isnan(p[3])) for a, p in zip(rows, expected, strict=True)
    )
    assert {r["attempt"] for r in rows} == {0}


def test_a_source_is_logged_once(warehouse, runs):
    assert warehouse.bulk_log_metrics(points(runs), source_id="file-1").is_new
    again = Warehouse(warehouse.root).bulk_log_metrics(points(runs), source_id="file-1")
    assert (again.n_points, again.is_new) == (0, False)
    assert ask(warehouse, "SELECT count(*) AS n FROM metrics") == [{"n": 4}]
    assert warehouse.bulk_log_metrics(points(runs), source_id="file-2").is_new
    assert ask(warehouse, "SELECT count(*) AS n FROM metrics") == [{"n": 8}]


def test_one_curve_goes_to_the_attempt_that_its_run_is_at(warehouse, runs):
    with warehouse.start_run(run_id=runs[0]) as run:
        run.log_metric("loss", 9.0, 0)
        n = 300_000
        done = warehouse.bulk_log_metrics(
            {"step": np.arange(n), "value": np.arange(n) / 2}, source_id="curve", run_id=runs[0], key="loss"
        )
    assert done.n_points == n
    assert ask(warehouse, "SELECT last, last_step, count FROM metric_summaries") == [
        {"last": (n - 1) / 2, "last_step": n - 1, "count": n + 1}
    ]
    assert ask(warehouse, "SELECT DISTINCT attempt FROM metrics") == [{"attempt": 1}]
    warehouse.bulk_log_metrics({"step": [5], "value": [1], "attempt": [0]}, source_id="old", run_id=runs[0], key="loss")
    assert ask(warehouse, "SELECT DISTINCT attempt FROM metrics ORDER BY 1") == [{"attempt": 0}, {"attempt": 1}]


def test_points_in_any_order_are_stored_by_run_and_key(warehouse, runs):
    draw = np.random.default_rng(7)
    which = draw.integers(0, 3, 5000)
    table = {
        "run_id": np.array(runs)[which],
        "key": np.array(["b", "a"])[draw.integers(0, 2, 5000)],
        "step": np.arange(5000),
        "value": draw.random(5000),
    }
    warehouse.bulk_log_metrics(table, source_id="s")
    stored = ask(warehouse, "SELECT run_id, key, step FROM metrics ORDER BY writer_seq")
    assert [(r["run_id"], r["key"], r["step"]) for r in stored] == sorted(
        zip(table["run_id"].tolist(), table["key"].tolist(), range(5000), strict=True)
    )


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([1_700_000_000_000], dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)),
        (
            pa.array([1_700_000_000_123_456_789], pa.timestamp("ns")),
            dt.datetime(2023, 11, 14, 22, 13, 20, 123456, dt.UTC),
        ),
        (
            [dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1)))],
            dt.datetime(2023, 12, 31, 23, tzinfo=dt.UTC),
        ),
    ],
)
def test_times_are_milliseconds_or_times(warehouse, runs, times, expected):
    warehouse.bulk_log_metrics(
        {"step": [1], "value": [1.0], "timestamp": times}, source_id="s", run_id=runs[0], key="x"
    )
    assert ask(warehouse, "SELECT event_at FROM metrics") == [{"event_at": expected}]


def test_no_points_are_a_source_too(warehouse, runs):
    empty = pa.table(points(runs)).slice(0, 0)
    assert warehouse.bulk_log_metrics(empty, source_id="empty").n_points == 0
    assert not warehouse.bulk_log_metrics(points(runs), source_id="empty").is_new


REFUSED = [
    ({"values": [1.0] * 4}, r"column `values`, which isn't known; .* Did you mean `value`"),
    ({"step": None}, r"Points lack the column `step`; they have run_id, key, value, context"),
    ({"step": [1.0, 2.0, 3.0, 4.0]}, r"Column `step` of the points must be whole numbers; got double"),
    ({"step": [1, None, 3, 4]}, r"Column `step` of the points lacks 1 values, the first in row 1; .*NaN is a value"),
    ({"step": pa.array([2**63, 1, 1, 1], pa.uint64())}, r"Column `step` of the points has a number beyond int64"),
    ({"value": ["a", "b", "c", "d"]}, r"Column `value` of the points must be numbers; got string"),
    ({"value": [1.0, 2.0, None, None]}, r"Column `value` of the points lacks 2 values, the first in row 2"),
    ({"key": [1, 2, 3, 4]}, r"Column `key` of the points must be text; got int64"),
    ({"key": ["a", "", "b", "c"]}, r"Column `key` of the points has an empty text"),
    ({"key": [None, "a", "a", "a"]}, r"Column `key` of the points lacks 1 values, the first in row 0"),
    ({"context": ["val", None, None, None]}, r"Column `context` of the points has `val`; a context is a JSON object"),
    ({"timestamp": ["now"] * 4}, r"Column `timestamp` of the points must be times"),
    ({"timestamp": [2**62] * 4}, r"Column `timestamp` of the points has a time out of reach"),
    ({"value": [1.0]}, r"Points can't be taken as columns of one length"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_points_that_can_not_be_meant_are_refused_and_none_is_logged(warehouse, runs, change, message):
    data = {name: column for name, column in {**points(runs), **change}.items() if column is not None}
    with pytest.raises(InvalidInputError, match=message):
        warehouse.bulk_log_metrics(data, source_id="s")
    assert ask(warehouse, "SELECT count(*) AS n FROM metrics") == [{"n": 0}]
    # The source id isn't used up by that.
    assert warehouse.bulk_log_metrics(points(runs), source_id="s").is_new


def test_what_is_given_beside_the_points_is_checked_too(warehouse, runs):
    with pytest.raises(NotFoundError, match="There is no run `nobody`"):
        warehouse.bulk_log_metrics({"step": [1], "value": [1]}, source_id="s", run_id="nobody", key="x")
    with pytest.raises(NotFoundError, match="There is no run `nobody`"):
        warehouse.bulk_log_metrics({"step": [1], "value": [1], "attempt": [0]}, source_id="s", run_id="nobody", key="x")
    with pytest.raises(InvalidInputError, match="have a column `key`, and `key` was given too"):
        warehouse.bulk_log_metrics(points(runs), source_id="s", key="x")
    with pytest.raises(InvalidInputError, match="A source id must be text"):
        warehouse.bulk_log_metrics(points(runs), source_id=" ")
    with pytest.raises(InvalidInputError, match="Points of type list can't be logged"):
        warehouse.bulk_log_metrics([1, 2], source_id="s")
    with pytest.raises(InvalidInputError, match="have a column twice"):
        warehouse.bulk_log_metrics(pa.table([[1], [1]], names=["step", "step"]), source_id="s")
