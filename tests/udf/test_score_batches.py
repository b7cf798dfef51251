"""Scoring rows on this machine, batch after batch."""

from __future__ import annotations

import datetime as dt
import json
import math

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwarehouse.engines.casting import cast_strict
from mlwarehouse.errors import InvalidInputError, ModelError, SignatureError
from mlwarehouse.tables import PREDICTION_INPUTS
from mlwarehouse.udf import Scoring, streaming
from mlwarehouse.udf.streaming import Tally, rebatched
from tests.udf.local import NOON, scored


def numbered(rows):
    return rows.append_column("id", pa.array(range(rows.num_rows)))


def test_predictions_are_rows_of_the_table(linear):
    frame = pd.DataFrame({"id": ["x", "y"], "a": [1.0, 2.0], "b": [0.0, 1.0], "other": [None, "ignored"]})
    rows = scored(frame, linear)
    row = rows.to_pylist()[1]
    assert row.pop("latency_us") > 0
    assert row == {
        "model_name": "prices",
        "model_version": 3,
        "model_digest": linear.digest,
        "run_id": "r1",
        "dataset": "houses",
        "input_table": "houses",
        "input_version": 7,
        "row_key": "y",
        "output": "prediction",
        "value": 8.0,
        "text": None,
        "event_at": NOON,
        "recorded_at": NOON,
        "writer_id": "score:job-1",
        "writer_seq": 1,
    }


def test_each_output_has_its_row_and_its_place(labels):
    rows = scored(pd.DataFrame({"id": ["x", "y"], "text": ["abcd", "a"]}), labels, scoring=Scoring("s", "texts"))
    found = {(r["row_key"], r["output"]): (r["value"], r["text"], r["writer_seq"]) for r in rows.to_pylist()}
    assert found == {
        ("x", "label"): (None, "long", 0),
        ("x", "score"): (4.0, None, 0),
        ("x", "is_long"): (1.0, None, 0),
        ("x", "parts"): (None, "[4.0,8.0]", 0),
        ("y", "label"): (None, "short", 1),
        ("y", "score"): (1.0, None, 1),
        ("y", "is_long"): (0.0, None, 1),
        ("y", "parts"): (None, "[1.0,2.0]", 1),
    }
    assert json.loads(found["x", "parts"][1]) == [4.0, 8.0]


def test_a_row_that_lacks_a_value_is_not_guessed_and_nan_is_a_value(linear):
    tally = Tally()
    rows = numbered(pa.table({"a": [1.0, None, math.nan, 2.0], "b": [1.0, 1.0, 1.0, None]}))
    values = scored(rows, linear, tally=tally).column("value").to_pylist()
    assert values[0] == 6.0
    assert values[1] is None
    assert math.isnan(values[2])
    assert values[3] is None
    assert tally == Tally(n_scored=4, n_lacking=2, n_failed=0)


def test_rows_that_all_lack_a_value_and_no_rows_are_scored_without_the_model(labels):
    nothing = scored(numbered(pa.table({"text": pa.array([None, None], pa.string())})), labels)
    assert nothing.num_rows == 8
    assert nothing.column("text").null_count == nothing.column("value").null_count == 8
    assert scored(numbered(pa.table({"text": pa.array([], pa.string())})), labels).num_rows == 0


def test_batches_change_nothing(linear):
    rows = numbered(pa.table({"a": [float(i) for i in range(10)], "b": [None if i == 4 else 0.0 for i in range(10)]}))
    one, many = scored(rows, linear), scored(rows, linear, batch_rows=3)
    assert many.drop_columns("latency_us").to_pylist() == one.drop_columns("latency_us").to_pylist()


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(0, 9), max_size=12), batch_rows=st.integers(1, 8))
def test_rows_are_put_together_and_cut_without_a_loss(sizes, batch_rows):
    rows = pa.table({"x": range(sum(sizes))})
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    given_ = [
        pa.record_batch({"x": rows.column("x").to_pylist()[e - n : e]}, rows.schema)
        for n, e in zip(sizes, ends, strict=True)
    ]
    parts = list(rebatched(given_, batch_rows))
    assert [p.num_rows for p in parts[:-1]] == [batch_rows] * (len(parts) - 1)
    assert [x for p in parts for x in p.column("x").to_pylist()] == rows.column("x").to_pylist()


def test_large_rows_are_given_to_the_model_a_few_at_once(monkeypatch):
    monkeypatch.setattr(streaming, "BATCH_BYTES", 6400)
    rows = pa.table({"x": ["y" * 2000] * 10})
    assert max(p.num_rows for p in rebatched(rows.to_batches(), 100)) == 3


def test_rows_that_the_model_fails_on_are_found_and_counted(picky):
    rows = pa.table({"id": ["x", "y", "z"], "x": [1, -1, 2]})
    tally = Tally()
    values = scored(rows, picky, tally=tally, on_error="null").column("value").to_pylist()
    assert values == [2.0, None, 4.0]
    assert tally == Tally(n_scored=3, n_lacking=0, n_failed=1)
    with pytest.raises(ModelError, match="`x` = -1"):
        scored(rows, picky)


def test_a_batch_of_which_nothing_is_predicted_has_the_outputs_of_those_before_it(unsigned):
    rows = pa.table({"id": [1, 2, 3], "p": [1.0, None, 2.0], "q": [1.0, 1.0, 1.0]})
    assert scored(rows, unsigned, batch_rows=1).column("value").to_pylist() == [4.0, None, 6.0]


def test_inputs_are_kept_and_rows_have_times_of_their_own(linear):
    when = [dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (1, 2)]
    rows = pa.table({"id": ["x", "y"], "a": [1.0, 2.0], "b": [0.0, 1.0], "city": ["Oslo", None], "day": when})
    predictions, inputs = scored(rows, linear, keep=("a", "city"), time="day")
    assert predictions.column("event_at").to_pylist() == when
    assert inputs.select(["feature", "row_key", "value", "text", "event_at", "writer_seq"]).to_pylist() == [
        {"feature": "a", "row_key": "x", "value": 1.0, "text": None, "event_at": when[0], "writer_seq": 0},
        {"feature": "a", "row_key": "y", "value": 2.0, "text": None, "event_at": when[1], "writer_seq": 1},
        {"feature": "city", "row_key": "x", "value": None, "text": "Oslo", "event_at": when[0], "writer_seq": 0},
        {"feature": "city", "row_key": "y", "value": None, "text": None, "event_at": when[1], "writer_seq": 1},
    ]
    cast_strict(inputs, PREDICTION_INPUTS)


@pytest.mark.parametrize(
    ("column", "seconds"),
    [
        (pa.array(["2026-03-01", "2026-03-01T12:00:00"]), [-43200, 0]),
        (pa.array([NOON.replace(tzinfo=None)] * 2, pa.timestamp("ns")), [0, 0]),
        (pa.array([NOON] * 2, pa.timestamp("ms", "Europe/Oslo")), [0, 0]),
        (pa.array([NOON.date()] * 2), [-43200, -43200]),
    ],
)
def test_times_are_read_as_they_are_written(linear, column, seconds):
    rows = pa.table({"id": [1, 2], "a": [1.0, 2.0], "b": [0.0, 1.0], "at": column})
    found = scored(rows, linear, time="at").column("event_at").to_pylist()
    assert [(t - NOON).total_seconds() for t in found] == seconds


def test_a_model_without_a_signature_takes_the_columns_as_they_are(unsigned):
    frame = pd.DataFrame({"id": [7], "p": [1.0], "q": [2.0]})
    assert scored(frame, unsigned).select(["row_key", "output", "value"]).to_pylist() == [
        {"row_key": "7", "output": "prediction", "value": 6.0}
    ]
    with pytest.raises(ModelError, match="names no outputs"):
        scored(pd.DataFrame({"id": [7], "p": [None], "q": [1.0]}), unsigned)


def test_what_cannot_be_scored_says_why(linear):
    frame = pd.DataFrame({"id": ["x", None], "a": [1.0, 2.0], "b": [0.0, 1.0]})
    with pytest.raises(SignatureError, match="needs a column `b`"):
        scored(frame.drop(columns="b"), linear)
    with pytest.raises(SignatureError, match="Column `a` is string"):
        scored(frame.assign(a="x"), linear)
    with pytest.raises(InvalidInputError, match=r"no column `ids` to name rows by.*Did you mean `id`"):
        scored(frame, linear, key="ids")
    with pytest.raises(InvalidInputError, match="1 rows have none"):
        scored(frame, linear)
    with pytest.raises(InvalidInputError, match="no column `c` to keep"):
        scored(frame, linear, key="a", keep=("c",))
    with pytest.raises(InvalidInputError, match="is double; cast it first"):
        scored(frame, linear, key="a", time="b")
    with pytest.raises(InvalidInputError, match="can't be read"):
        scored(frame.assign(at="noon"), linear, key="a", time="at")
    with pytest.raises(InvalidInputError, match="is binary and can't be kept"):
        scored(frame.assign(raw=[b"\xff", b""]), linear, key="a", keep=("raw",))
