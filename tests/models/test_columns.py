"""Arrow's columns straight into a tensor give what the way over a frame gives, to the last bit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from mlwarehouse.errors import ModelError
from mlwarehouse.models import Field, Predictor, Signature
from mlwarehouse.models.arrow_rows import array_of, table_of_frame
from mlwarehouse.models.torch_calling import predict_by_torch, predict_tensor, takes_tensor

ONE = (Field("prediction", "float"),)
TYPES = ("integer", "long", "float", "double")


class Mixing(torch.nn.Module):
    """Outputs that depend on each column."""

    def __init__(self, n_inputs: int, n_outputs: int = 1) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(n_inputs, 16), torch.nn.Tanh(), torch.nn.Linear(16, n_outputs)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def mixed(n: int) -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "ignored": ["x"] * n,
            "double": rng.standard_normal(n),
            "integer": pa.array(rng.integers(-9, 9, n), pa.int16()),
            "long": rng.integers(2**53, 2**60, n),
            "float": pa.array(rng.standard_normal(n).astype(np.float32)),
        }
    )


def loaded(model: torch.nn.Module, signature: Signature) -> Predictor:
    """A model as its flavor's packages are loaded."""
    return Predictor(model, signature, "", predict_by_torch, predict_tensor if takes_tensor(model) else None)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_a_table_is_predicted_as_its_frame_is(n_outputs):
    outputs = ONE if n_outputs == 1 else tuple(Field(f"o{i}", "double") for i in range(n_outputs))
    signature = Signature(tuple(Field(t, t) for t in TYPES), outputs)
    predictor = loaded(Mixing(len(TYPES), n_outputs).eval(), signature)
    rows = pa.concat_tables([mixed(50), mixed(7)]).slice(3, 51)
    assert array_of(rows, signature) is not None
    found = predictor.predict_rows(rows)
    assert found == table_of_frame(predictor.predict(rows.to_pandas()), outputs)


def test_whole_numbers_round_as_the_field_says():
    """Through a double 2^54 + 2^30 + 1 is rounded twice, and lands elsewhere than rounded once."""
    number = 2**54 + 2**30 + 1
    rows = pa.table({"x": pa.array([number])})
    for type_ in ("double", "long", "float"):
        signature = Signature((Field("x", type_),), ONE)
        predictor = loaded(torch.nn.Identity(), signature)
        assert predictor.predict_rows(rows) == table_of_frame(predictor.predict(rows.to_pandas()), ONE), type_


@pytest.mark.parametrize(
    ("field", "column"),
    [
        (Field("x", "string"), pa.array(["a"])),
        (Field("x", "boolean"), pa.array([1])),
        (Field("x", "double"), pa.array([True])),
        (Field("x", "double"), pa.array([[1.0]])),
        (Field("x", "double", 2), pa.array([[1.0]])),
        (Field("x", "double"), pa.array([1.0, None])),
        (Field("x", "double"), pa.array(["1"])),
        (Field("x", "long"), pa.array([1.5])),
        (Field("x", "integer"), pa.array([2**40])),
        (Field("x", "long"), pa.array([2**63], pa.uint64())),
        (Field("y", "double", required=False), pa.array([1.0])),
    ],
)
def test_what_is_not_plain_numbers_goes_by_way_of_a_frame(field, column):
    assert array_of(pa.table({"x": column}), Signature((field,))) is None


def test_a_model_that_predicts_from_frames_gets_one_and_its_failures_say_the_same():
    class Framed(torch.nn.Module):
        def predict(self, frame):
            return frame["a"] * 2.0

    signature = Signature((Field("a", "double"),), ONE)
    rows = pa.table({"a": [1.0, 2.0]})
    assert loaded(Framed(), signature).predict_rows(rows).column("prediction").to_pylist() == [2.0, 4.0]
    failing = loaded(Mixing(2), signature)
    with pytest.raises(ModelError) as by_table:
        failing.predict_rows(rows)
    with pytest.raises(ModelError) as by_frame:
        failing.predict(rows.to_pandas())
    assert str(by_table.value) == str(by_frame.value)
