"""Signatures, inputs that don't fit them, and outputs that aren't columns."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.models.signature import ModelSignature

from mlwarehouse.errors import ModelError, SignatureError
from mlwarehouse.models import Field, Predictor, Signature, infer_signature

LINEAR = Signature((Field("amount", "float"), Field("count", "long")), (Field("prediction", "float"),))


class Sum(torch.nn.Module):
    def forward(self, x):
        return x.sum(dim=1)


class Frames(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def predict(self, frame):
        return self.function(frame)


def test_types_are_inferred_from_frames_arrays_and_tensors():
    frame = pd.DataFrame(
        {
            "text": ["a", None],
            "flag": [True, False],
            "small": np.array([1, 2], "int32"),
            "whole": [1, 2],
            "single": np.array([1, 2], "float32"),
            "fraction": [0.5, float("nan")],
            "pixels": [[[1.0, 2.0]], [[3.0, 4.0]]],
            "nullable": pd.array([1, None], "Int64"),
        }
    )
    types = {f.name: f.type_name for f in infer_signature(frame).inputs}
    assert types == {
        "text": "string",
        "flag": "boolean",
        "small": "integer",
        "whole": "long",
        "single": "float",
        "fraction": "double",
        "pixels": "array<array<double>>",
        "nullable": "long",
    }
    assert infer_signature(np.zeros((4, 2))).inputs == (Field("input_0", "double"), Field("input_1", "double"))
    assert infer_signature(torch.zeros(4)).inputs == (Field("input", "float"),)
    assert infer_signature(["a", "b"]).inputs == (Field("input", "string"),)
    assert infer_signature(pd.Series([1.0], name="x"), np.zeros((1, 1))) == Signature(
        (Field("x", "double"),), (Field("prediction", "double"),)
    )


@pytest.mark.parametrize("value", [np.float32(1), object(), pd.DataFrame({"d": pd.to_datetime(["2026-01-01"])})])
def test_what_has_no_column_types_is_refused(value):
    with pytest.raises(SignatureError):
        infer_signature(value)


def test_mlflow_reads_a_signature_and_we_read_it_back():
    signature = Signature(
        (Field("text", "string"), Field("x", "double", required=False), Field("pixels", "float", dims=2)),
        (Field("prediction", "float"),),
    )
    entry = signature.to_mlflow()
    seen = ModelSignature.from_dict(entry)
    assert seen.inputs.input_names() == ["text", "x", "pixels"]
    assert seen.inputs.required_input_names() == ["text", "pixels"]
    assert Signature.from_mlflow(seen.to_dict()) == signature


def test_a_signature_of_mlflow_that_columns_can_not_express_is_none():
    assert Signature.from_mlflow(None) is None
    assert Signature.from_mlflow({"inputs": json.dumps([{"type": "datetime", "name": "t"}])}) is None
    assert Signature.from_mlflow({"inputs": "nonsense"}) is None
    tensor = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}
    read = Signature.from_mlflow({"inputs": json.dumps([tensor]), "outputs": json.dumps([tensor])})
    assert read == Signature((Field("input_0", "float", shape=(3,)),), (Field("prediction", "float", shape=(3,)),))


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"amount": "double", "count": "long", "more": "string"}, None),
        ({"amount": "int", "count": "bigint"}, None),
        ({"amonut": "double", "count": "long"}, "needs a column `amount`.*Did you mean `amonut`"),
        ({"amount": "double", "count": "double"}, "Column `count` is double and the model takes long"),
        ({"amount": "string", "count": "long"}, "Column `amount` is string"),
        ({"amount": "array<double>", "count": "long"}, "Column `amount` is array<double>"),
        ({"amount": "decimal(10,2)", "count": "long"}, r"Column `amount` is decimal\(10,2\)"),
        ({}, "the table has none"),
    ],
)
def test_columns_are_checked_by_name_and_type(columns, says):
    if says is None:
        LINEAR.check(columns)
    else:
        with pytest.raises(SignatureError, match=says):
            LINEAR.check(columns)


def test_an_optional_column_may_be_missing():
    signature = Signature((Field("x", "double"), Field("y", "double", required=False)))
    signature.check({"x": "double"})
    seen = Predictor(Frames(lambda frame: frame["y"].isna()), signature, "").predict(pd.DataFrame({"x": [1.0]}))
    assert seen["y"].tolist() == [True]


def test_a_frame_that_does_not_fit_is_refused_before_the_model_runs():
    predictor = Predictor(Sum(), LINEAR, "")
    with pytest.raises(SignatureError, match=r"`count`.*cast it first"):
        predictor.predict(pd.DataFrame({"amount": [1.0], "count": [1.5]}))
    with pytest.raises(SignatureError, match=r"Column `amount` is string"):
        predictor.predict(pd.DataFrame({"amount": ["1"], "count": [1]}))
    with pytest.raises(SignatureError, match=r"needs a column `count`"):
        predictor.predict(pd.DataFrame({"amount": [1.0]}))


def test_columns_are_stacked_in_the_signatures_order_as_float32():
    class Kind(torch.nn.Module):
        def forward(self, x):
            assert x.dtype == torch.float32
            assert torch.is_inference_mode_enabled()
            return x

    frame = pd.DataFrame({"count": [1, 2], "amount": [0.5, 1.5]}, index=[7, 9])
    signature = Signature(LINEAR.inputs)
    predicted = Predictor(Kind(), signature, "").predict(frame)
    assert predicted.to_dict("list") == {"output_0": [0.5, 1.5], "output_1": [1.0, 2.0]}
    assert list(predicted.index) == [7, 9]


def test_whole_numbers_with_gaps_are_still_whole_numbers():
    frame = pd.DataFrame({"amount": [1.0, 2.0], "count": [1.0, float("nan")]})
    predicted = Predictor(Sum(), LINEAR, "").predict(frame)["prediction"]
    assert predicted.iloc[0] == 2.0
    assert np.isnan(predicted.iloc[1])


def test_a_long_gap_at_the_start_of_a_text_column_is_no_reason_to_refuse_it():
    frame = pd.DataFrame({"text": [None] * 300 + ["a"]})
    predictor = Predictor(Frames(lambda f: f["text"].notna()), Signature((Field("text", "string"),)), "")
    assert predictor.predict(frame)["text"].sum() == 1


def test_columns_without_names_are_taken_by_position():
    assert Predictor(Sum(), LINEAR, "").predict(pd.DataFrame([[1, 2], [3, 4]]))["prediction"].tolist() == [3.0, 7.0]
    rows = Signature((Field("input", "long", 1),))
    assert Predictor(Sum(), rows, "").predict(pd.DataFrame([[1, 2], [3, 4]]))["prediction"].tolist() == [3, 7]


def test_an_empty_batch_has_the_outputs_columns_and_types():
    frame = pd.DataFrame({"amount": pd.Series([], dtype=float), "count": pd.Series([], dtype="int64")})
    predicted = Predictor(Sum(), LINEAR, "").predict(frame)
    assert len(predicted) == 0
    assert predicted.dtypes.astype(str).to_dict() == {"prediction": "float32"}
    text = Signature((Field("text", "string"),), (Field("label", "string"), Field("n", "long")))
    predicted = Predictor(Frames(len), text, "").predict(pd.DataFrame({"text": []}))
    assert predicted.dtypes.astype(str).to_dict() == {"label": "object", "n": "int64"}


def test_text_and_mixed_columns_need_a_predict_method():
    with pytest.raises(SignatureError, match=r"`t` is text.*predict\(self, frame\)"):
        Predictor(Sum(), None, "").predict(pd.DataFrame({"t": ["a"]}))
    with pytest.raises(SignatureError, match="1 further columns"):
        Predictor(Sum(), None, "").predict(pd.DataFrame({"v": [[1.0]], "x": [1.0]}))
    with pytest.raises(SignatureError, match="different lengths"):
        Predictor(Sum(), None, "").predict(pd.DataFrame({"v": [[1.0], [1.0, 2.0]]}))


@pytest.mark.parametrize(
    ("returned", "columns"),
    [
        (lambda n: torch.zeros(n), ["prediction"]),
        (lambda n: torch.zeros(n, 1), ["prediction"]),
        (lambda n: np.zeros((n, 3)), ["output_0", "output_1", "output_2"]),
        (lambda n: pd.Series(["a"] * n), ["prediction"]),
        (lambda n: pd.Series(["a"] * n, name="label"), ["label"]),
        (lambda n: pd.DataFrame({"p": [0.0] * n, "q": [1] * n}), ["p", "q"]),
        (lambda n: ["a"] * n, ["prediction"]),
        (lambda n: {"mean": torch.zeros(n), "box": torch.zeros(n, 4)}, ["mean", "box"]),
        (lambda n: torch.zeros(n, 2, 2), ["prediction"]),
    ],
)
def test_outputs_become_columns(returned, columns):
    predictor = Predictor(Frames(lambda frame: returned(len(frame))), None, "")
    predicted = predictor.predict(pd.DataFrame({"x": [1.0, 2.0]}, index=["u", "v"]))
    assert list(predicted.columns) == columns
    assert list(predicted.index) == ["u", "v"]


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (torch.tensor(1.0), "single value"),
        (torch.zeros(3), "3 rows for 2"),
        (torch.zeros(2, 2), "2 columns, and its signature promises 1"),
        ((torch.zeros(2), torch.zeros(2)), "tuple of 2"),
        (pd.DataFrame({"other": [1.0, 2.0]}), "promises prediction"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_outputs_that_are_not_what_was_promised_are_refused(returned, says):
    predictor = Predictor(Frames(lambda frame: returned), LINEAR, "")
    with pytest.raises(ModelError, match=says):
        predictor.predict(pd.DataFrame({"amount": [1.0, 2.0], "count": [1, 2]}))


def test_a_failing_model_is_named():
    with pytest.raises(ModelError, match=r"The model Linear failed on a tensor of shape \[1, 2\]"):
        Predictor(torch.nn.Linear(3, 1), None, "").predict(pd.DataFrame({"x": [1.0], "y": [1.0]}))
