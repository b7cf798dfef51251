"""Rows that a model fails on cost no other row its prediction, and are named."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwarehouse.errors import ModelError
from mlwarehouse.models import load_predictor
from mlwarehouse.udf.bad_rows import predict_around
from mlwarehouse.udf.predicting import predict_batches, predict_rows, try_rows


def _doubled(rows: pa.Table) -> pa.Table:
    values = rows.column("x").to_pylist()
    if any(v < 0 for v in values):
        raise ModelError("negative")
    return pa.table({"y": [2 * v for v in values]})


@given(st.lists(st.integers(-3, 20)))
def test_each_bad_row_is_found_and_each_good_one_predicted(values):
    good, bad = predict_around(_doubled, pa.table({"x": pa.array(values, pa.int64())}), "null")
    assert [v for part in good for v in part.column("y").to_pylist()] == [2 * v for v in values if v >= 0]
    assert sorted(bad) == [i for i, v in enumerate(values) if v < 0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.none() | st.integers(-3, 20), max_size=30), st.none() | st.integers(1, 7))
def test_predictions_stay_with_their_rows_whatever_lacks_or_fails(picky, values, batch_rows):
    made = try_rows(
        load_predictor(picky), pa.table({"x": pa.array(values, pa.int64())}), batch_rows=batch_rows, on_error="null"
    )
    assert made.outputs is not None
    expected = [None if v is None or v < 0 else 2 * v for v in values]
    assert made.outputs.column("prediction").to_pylist() == expected
    assert [e is None for e in made.errors.to_pylist()] == [v is not None for v in expected]
    assert (made.n_lacking, made.n_failed) == (values.count(None), sum(v is not None and v < 0 for v in values))


def test_few_calls_find_one_bad_row_among_many(picky):
    predictor = load_predictor(picky)
    rows = pa.table({"x": pa.array([-1 if i == 700 else i for i in range(1024)], pa.int64())})
    assert try_rows(predictor, rows, on_error="null").n_failed == 1
    assert predictor.model.calls == 2 * 10 + 1


def test_the_error_says_which_row_it_is(picky):
    rows = pa.table({"x": pa.array([1, 2, 3, -4, -5], pa.int64())})
    with pytest.raises(ModelError, match=r"^Row 4 of 5 that were .* \(`x` = -4\): .*no negative numbers, please"):
        predict_rows(load_predictor(picky), rows)


def test_what_fails_only_as_a_whole_is_predicted_in_halves():
    def small(rows: pa.Table) -> pa.Table:
        if rows.num_rows > 3:
            raise ModelError("out of memory")
        return rows

    rows = pa.table({"x": list(range(10))})
    good, bad = predict_around(small, rows, "raise")
    assert pa.concat_tables(good) == rows
    assert not bad


def test_a_row_of_many_long_values_is_named_in_few_words():
    def never(_: pa.Table) -> pa.Table:
        raise ModelError("no")

    rows = pa.table({f"c{i}": ["x" * 500] for i in range(8)})
    with pytest.raises(ModelError, match=r"and 3 more columns\): no$") as caught:
        predict_around(never, rows, "raise")
    assert len(str(caught.value)) < 500


def test_why_there_is_no_prediction_stands_beside_it(picky):
    batch = (pa.array([1, None, -1], pa.int64()),)
    result = pa.struct([("prediction", pa.float64()), ("error", pa.string())])
    (answer,) = predict_batches(load_predictor(picky), iter([batch]), ["x"], result, on_error="return")
    found = answer.to_pylist()
    assert [row["prediction"] for row in found] == [2.0, None, None]
    assert found[0]["error"] is None
    assert found[1]["error"] == "Column `x` is null, and the model needs a value."
    assert "no negative numbers" in found[2]["error"]


def test_rows_that_a_model_without_known_outputs_all_fails_on_are_null(unsigned):
    batch = (pa.array([[1.0], [2.0]], pa.list_(pa.float64())), pa.array([1.0, 2.0]))
    (answer,) = predict_batches(load_predictor(unsigned), iter([batch]), ["p", "q"], pa.float64(), on_error="null")
    assert answer.to_pylist() == [None, None]
