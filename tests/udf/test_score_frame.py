"""Scoring frames on this machine."""

from __future__ import annotations

import datetime as dt
import json
import math

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from mlwarehouse.errors import InvalidInputError, ModelError, SignatureError
from mlwarehouse.models import load_predictor
from mlwarehouse.tables import PREDICTIONS
from mlwarehouse.udf import Scoring, score_frame

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
SCORING = Scoring("job-1", "houses", "prices", 3, run_id="r1", input_table="houses", input_version=7)


def test_predictions_are_rows_of_the_table(linear):
    frame = pd.DataFrame({"id": ["x", "y"], "a": [1.0, 2.0], "b": [0.0, 1.0], "other": [None, "ignored"]})
    rows = score_frame(frame, load_predictor(linear.folder), SCORING, row_key="id", now=NOON)
    assert rows.schema == PREDICTIONS.arrow_schema()
    assert rows.to_pylist()[1] == {
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
    rows = score_frame(pd.DataFrame({"text": ["abcd", "a"]}), load_predictor(labels.folder), Scoring("s", "texts"))
    found = {(r["row_key"], r["output"]): (r["value"], r["text"], r["writer_seq"]) for r in rows.to_pylist()}
    assert found == {
        ("0", "label"): (None, "long", 0),
        ("0", "score"): (4.0, None, 0),
        ("0", "is_long"): (1.0, None, 0),
        ("0", "parts"): (None, "[4.0,8.0]", 0),
        ("1", "label"): (None, "short", 1),
        ("1", "score"): (1.0, None, 1),
        ("1", "is_long"): (0.0, None, 1),
        ("1", "parts"): (None, "[1.0,2.0]", 1),
    }
    assert json.loads(found["0", "parts"][1]) == [4.0, 8.0]


def test_a_row_that_lacks_a_value_is_not_guessed_and_nan_is_a_value(linear):
    rows = pa.table({"a": [1.0, None, math.nan, 2.0], "b": [1.0, 1.0, 1.0, None]})
    values = score_frame(rows, load_predictor(linear.folder), SCORING).column("value").to_pylist()
    assert values[0] == 6.0
    assert values[1] is None
    assert math.isnan(values[2])
    assert values[3] is None


def test_rows_that_all_lack_a_value_and_no_rows_are_scored_without_the_model(labels):
    predictor = load_predictor(labels.folder)
    nothing = score_frame(pa.table({"text": pa.array([None, None], pa.string())}), predictor, SCORING)
    assert nothing.num_rows == 8
    assert nothing.column("text").null_count == nothing.column("value").null_count == 8
    assert score_frame(pa.table({"text": pa.array([], pa.string())}), predictor, SCORING).num_rows == 0


def test_batches_change_nothing(linear):
    rows = pa.table({"a": [float(i) for i in range(10)], "b": [None if i == 4 else 0.0 for i in range(10)]})
    predictor = load_predictor(linear.folder)
    assert score_frame(rows, predictor, SCORING, batch_rows=3, now=NOON) == score_frame(
        rows, predictor, SCORING, now=NOON
    )


def test_whatever_gives_an_arrow_stream_is_scored(linear):
    relation = duckdb.sql("SELECT i AS id, i::DOUBLE AS a, 0.0::DOUBLE AS b FROM range(3) t(i)")
    rows = score_frame(relation, load_predictor(linear.folder), SCORING, row_key="id")
    assert rows.column("value").to_pylist() == [1.0, 3.0, 5.0]
    assert rows.column("row_key").to_pylist() == ["0", "1", "2"]


def test_a_model_without_a_signature_takes_the_columns_as_they_are(unsigned):
    frame = pd.DataFrame({"id": [7], "p": [1.0], "q": [2.0]})
    rows = score_frame(frame, load_predictor(unsigned.folder), SCORING, row_key="id")
    assert rows.select(["row_key", "output", "value"]).to_pylist() == [
        {"row_key": "7", "output": "prediction", "value": 6.0}
    ]
    with pytest.raises(ModelError, match="names no outputs"):
        score_frame(pd.DataFrame({"p": [None], "q": [1.0]}), load_predictor(unsigned.folder), SCORING)


def test_what_cannot_be_scored_says_why(linear):
    predictor = load_predictor(linear.folder)
    frame = pd.DataFrame({"id": ["x", None], "a": [1.0, 2.0], "b": [0.0, 1.0]})
    with pytest.raises(SignatureError, match="needs a column `b`"):
        score_frame(frame.drop(columns="b"), predictor, SCORING)
    with pytest.raises(SignatureError, match="Column `a` is string"):
        score_frame(frame.assign(a="x"), predictor, SCORING)
    with pytest.raises(InvalidInputError, match=r"no column `ids`.*Did you mean `id`"):
        score_frame(frame, predictor, SCORING, row_key="ids")
    with pytest.raises(InvalidInputError, match="1 rows have none"):
        score_frame(frame, predictor, SCORING, row_key="id")
    with pytest.raises(InvalidInputError, match="got list"):
        score_frame([1, 2], predictor, SCORING)
