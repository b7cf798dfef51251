"""Columns of lists and of bytes: shapes in signatures that MLflow reads, and Arrow rows without a frame between."""

from __future__ import annotations

import struct

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwarehouse.errors import SignatureError
from mlwarehouse.models import Field, Predictor, Signature, load_predictor, read_package, save_model
from mlwarehouse.models.arrow_rows import ARROW_TYPES, array_of, table_of, table_of_frame
from mlwarehouse.models.frames import conform, input_array, output_frame

pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")

IMAGES = Signature((Field("image", "float", shape=(2, 3)),), (Field("prediction", "float", shape=(6,)),))


class Sized:
    """The sizes of pictures, by their own decoding: two unsigned bytes, width and height."""

    def predict(self, frame):
        sizes = [struct.unpack("BB", picture) for picture in frame["picture"]]
        return pd.DataFrame({"width": [w for w, _ in sizes], "height": [h for _, h in sizes]})


@pytest.fixture
def flat(tmp_path):
    return save_model(tmp_path / "flat", torch.nn.Flatten(), signature=IMAGES)


def test_a_signature_with_shapes_is_one_of_tensors_and_mlflow_scores_by_it(flat):
    assert read_package(flat.folder).signature == IMAGES
    loaded = mlflow.pyfunc.load_model(str(flat.folder))
    assert [t.shape for t in loaded.metadata.signature.inputs.inputs] == [(-1, 2, 3)]
    cells = np.arange(12, dtype="float32").reshape(2, 2, 3)
    for rows in ({"image": cells}, pd.DataFrame({"image": [c.reshape(-1).tolist() for c in cells]})):
        np.testing.assert_array_equal(np.stack(loaded.predict(rows)["prediction"]), cells.reshape(2, 6))
    with pytest.raises(mlflow.exceptions.MlflowException, match="shape"):
        loaded.predict({"image": cells[:, :1]})


def test_shapes_beside_columns_that_are_no_tensors_are_kept_too(tmp_path):
    mixed = Signature((Field("image", "float", shape=(-1, 3)), Field("title", "string")), (Field("n", "long"),))
    entry = mixed.to_mlflow()
    assert Signature.from_mlflow(entry) == mixed
    read = mlflow.models.ModelSignature.from_dict(entry)
    assert read.inputs.input_names() == ["image", "title"]


_names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
_fields = st.builds(
    lambda name, type_, shape, required: Field(name, type_, required=required, shape=tuple(shape) or None),
    _names,
    st.sampled_from(tuple(ARROW_TYPES)),
    st.lists(st.just(-1) | st.integers(1, 512), max_size=3),
    st.booleans(),
)


_parts = st.lists(_fields, min_size=1, max_size=4, unique_by=lambda f: f.name)


@given(_parts, _parts)
def test_every_signature_is_read_back_as_it_was(inputs, outputs):
    signature = Signature(tuple(inputs), tuple(outputs))
    assert Signature.from_mlflow(signature.to_mlflow()) == signature


@pytest.mark.parametrize(("dims", "shape"), [(1, (2, 2)), (0, ()), (0, (0, 2)), (2, (3,)), (0, "ab"), (0, (1.5,))])
def test_a_shape_that_can_not_be_is_refused(dims, shape):
    with pytest.raises(SignatureError, match="give the length of each dimension"):
        Field("x", "float", dims, shape=shape)


def test_a_shape_may_be_any_sequence():
    assert Field("x", "float", shape=[2, 3]) == Field("x", "float", 2, shape=(2, 3))
    assert hash(Field("x", "float", shape=[2, 3])) == hash(Field("x", "float", shape=(2, 3)))


def test_a_cell_of_another_shape_is_named(flat):
    good, bad = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[1.0, 2.0], [3.0, 4.0]]
    predictor = load_predictor(flat.folder)
    with pytest.raises(SignatureError, match=r"`image` has the shape \[2, 2\] in row 2, and the model takes \[2, 3\]"):
        predictor.predict(pd.DataFrame({"image": [good, bad]}))
    ragged = [[1.0], [1.0, 2.0]]
    with pytest.raises(SignatureError, match=r"`image` has a cell that holds lists of different lengths\.$"):
        predictor.predict(pd.DataFrame({"image": [ragged, good]}))
    with pytest.raises(SignatureError, match=r"different lengths, in row 2"):
        predictor.predict(pd.DataFrame({"image": [good, ragged]}))
    with pytest.raises(SignatureError, match=r"is array<double> and the model takes array<array<float>>"):
        predictor.predict(pd.DataFrame({"image": [[1.0, 2.0]]}))


def test_bytes_are_decoded_by_the_model_itself(tmp_path):
    example = pd.DataFrame({"picture": [bytes([3, 200]), b"\xff\x00"]})
    package = save_model(tmp_path / "m", Sized(), input_example=example)
    assert package.signature == Signature(
        (Field("picture", "binary"),), (Field("width", "long"), Field("height", "long"))
    )
    predicted = load_predictor(package).predict_rows(pa.table({"picture": [b"\x01\x02"]}))
    assert predicted.to_pylist() == [{"width": 1, "height": 2}]
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "m"))
    assert loaded.input_example["picture"].tolist() == example["picture"].tolist()
    assert loaded.predict(example)["height"].tolist() == [200, 0]


def test_bytes_are_no_tensor(tmp_path):
    signature = Signature((Field("picture", "binary"),))
    package = save_model(tmp_path / "m", torch.nn.Identity(), signature=signature)
    with pytest.raises(SignatureError, match="`picture` is bytes"):
        load_predictor(package).predict_rows(pa.table({"picture": [b"x"]}))


_VALUES = {
    "boolean": st.booleans(),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats(-1e38, 1e38) | st.just(float("nan")),
}


@settings(deadline=None)
@given(st.data(), st.lists(st.sampled_from(tuple(_VALUES)), min_size=1, max_size=3), st.integers(1, 5))
def test_rows_of_arrow_make_the_array_that_a_frame_makes(data, types, n_rows):
    fields = tuple(Field(f"c{i}", type_) for i, type_ in enumerate(types))
    rows = pa.table(
        {
            f.name: pa.array(
                data.draw(st.lists(_VALUES[f.type], min_size=n_rows, max_size=n_rows)), ARROW_TYPES[f.type]
            )
            for f in fields
        }
    )
    expected = input_array(conform(rows.to_pandas(), Signature(fields)))
    found = array_of(rows, Signature(fields))
    assert found.strides == expected.strides
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


@given(st.sampled_from(["float", "double", "long"]), st.lists(st.integers(1, 3), min_size=1, max_size=3), st.data())
def test_lists_of_arrow_make_the_array_that_a_frame_makes(type_, shape, data):
    n_rows = data.draw(st.integers(1, 4))
    cells = np.arange(n_rows * int(np.prod(shape)), dtype="int64" if type_ == "long" else "float64")
    lists = cells.reshape(n_rows, *shape).tolist()
    field = Field("x", type_, len(shape))
    rows = pa.table({"x": [None, *lists]}).slice(1)  # as Spark gives them: lists that begin behind others
    expected = input_array(pd.DataFrame({"x": lists}))
    found = array_of(rows, Signature((field,)))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


@pytest.mark.parametrize(
    "cells", [[[[1.0], [2.0]], [[3.0], [4.0]]], [[[1.0]], [[1.0], [2.0]]], [[["a"], ["b"]]], [["a", "b"]]]
)
def test_a_frame_made_of_nested_lists_holds_them_as_they_are(cells):
    class Kept:
        def predict(self, frame):
            return {"n": [len(cell) for cell in frame["x"]]}

    field = Field("x", "double", 2) if cells[0][0][0] == 1.0 else Field("x", "string", 1 + (cells[0][0] == ["a"]))
    predictor = Predictor(Kept(), Signature((field,)), "", lambda model, frame: model.predict(frame))
    assert predictor.predict_rows(pa.table({"x": cells})).column("n").to_pylist() == [len(c) for c in cells]


def test_what_only_a_frame_can_say_is_left_to_it():
    ragged = pa.table({"x": [[1.0], [1.0, 2.0]]})
    with_gaps = pa.table({"x": [[1.0, None]]})
    assert array_of(ragged, Signature((Field("x", "float", 1),))) is None
    assert array_of(with_gaps, Signature((Field("x", "float", 1),))) is None
    assert array_of(pa.table({"x": ["a"]}), Signature((Field("x", "string"),))) is None
    assert array_of(pa.table({"x": [[1.0, 2.0]]}), Signature((Field("x", "float", shape=(3,)),))) is None


@given(
    st.sampled_from([("float",), ("double",), ("float", "double"), ("long",)]),
    st.integers(1, 4),
    st.sampled_from(["float32", "float64", "int64"]),
)
def test_outputs_are_those_that_a_frame_would_hold(types, n_rows, dtype):
    fields = [Field(f"y{i}", type_) for i, type_ in enumerate(types)]
    value = (np.arange(n_rows * len(types)) * 3).astype(dtype).reshape(n_rows, len(types))
    expected = table_of_frame(output_frame(value, pd.RangeIndex(n_rows), fields), fields)
    assert table_of(torch.from_numpy(value), n_rows, fields) == expected


def test_outputs_of_every_kind_arrive():
    cells = np.arange(12.0).reshape(2, 2, 3)
    assert table_of(cells, 2, [Field("y", "float", 2)]).to_pylist() == [{"y": c.tolist()} for c in cells]
    assert table_of({"a": [1, 2], "b": cells[:, 0]}, 2, ()).to_pylist()[1] == {"a": 2, "b": [6.0, 7.0, 8.0]}
    assert table_of(["x", "y"], 2, [Field("y", "string")]).column("y").to_pylist() == ["x", "y"]
    assert table_of([b"x", b"y"], 2, [Field("y", "binary")]).column("y").to_pylist() == [b"x", b"y"]


def test_a_model_that_computes_in_place_changes_nobodys_rows():
    class InPlace(torch.nn.Module):
        def forward(self, x):
            return x.mul_(2)

    from mlwarehouse.models.torch_calling import predict_by_torch, predict_tensor

    rows = pa.table({"x": pa.array([[1.0, 2.0]], pa.list_(pa.float32()))})
    signature = Signature((Field("x", "float", 1),), (Field("y", "float", 1),))
    predictor = Predictor(InPlace(), signature, "", predict_by_torch, predict_tensor)
    assert predictor.predict_rows(rows).column("y").to_pylist() == [[2.0, 4.0]]
    assert rows.column("x").to_pylist() == [[1.0, 2.0]]
