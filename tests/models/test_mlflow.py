"""MLflow loads our packages, and we load MLflow's."""

from __future__ import annotations

import sys
import warnings

import mlflow
import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LinearRegression

from mlwarehouse.errors import InvalidInputError, PickleRefusedError
from mlwarehouse.models import Field, load_model, load_predictor, read_package, save_model

# MLflow's own modules warn while they are imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")

FRAME = pd.DataFrame({"a": [0.5, 1.5], "b": [1.0, 2.0]})


def test_mlflow_loads_and_scores_a_package(tmp_path):
    model = torch.nn.Linear(2, 1)
    folder = tmp_path / "m"
    save_model(folder, model, init_args={"in_features": 2, "out_features": 1}, input_example=FRAME)

    loaded = mlflow.pyfunc.load_model(str(folder))
    predicted = loaded.predict(FRAME.assign(more="x"))

    expected = model(torch.tensor(FRAME.to_numpy(), dtype=torch.float32)).detach()[:, 0]
    np.testing.assert_allclose(predicted["prediction"], expected, rtol=1e-6)
    assert loaded.metadata.signature.inputs.input_names() == ["a", "b"]
    assert loaded.metadata.signature.outputs.input_names() == ["prediction"]
    pd.testing.assert_frame_equal(loaded.input_example, FRAME)
    with pytest.raises(mlflow.exceptions.MlflowException, match="missing inputs"):
        loaded.predict(FRAME[["a"]])
    read_package(folder)  # loading it has changed no file


def test_mlflow_passes_columns_of_lists(tmp_path):
    save_model(tmp_path / "m", torch.nn.Flatten(), input_example=torch.arange(8.0).reshape(2, 2, 2))
    frame = pd.DataFrame({"input": [[[1.0, 2.0], [3.0, 4.0]]]})
    predicted = mlflow.pyfunc.load_model(str(tmp_path / "m")).predict(frame)
    assert predicted.to_numpy().tolist() == [[1.0, 2.0, 3.0, 4.0]]


@pytest.fixture
def mlflows(tmp_path):
    def save(model, **arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow warns of its own pickles and of its own environment
            mlflow.pytorch.save_model(model, str(tmp_path / "m"), pip_requirements=["torch"], **arguments)
        return tmp_path / "m"

    return save


def test_a_pickled_model_of_mlflow_is_refused_unless_allowed(mlflows):
    model = torch.nn.Linear(2, 1)
    folder = mlflows(model, serialization_format="pickle")
    assert read_package(folder).flavor == "mlflow_pytorch"
    for load in (load_model, load_predictor):
        with pytest.raises(PickleRefusedError, match="allow_pickle=True"):
            load(folder)
    torch.testing.assert_close(load_model(folder, allow_pickle=True).weight, model.weight)
    predicted = load_predictor(folder, allow_pickle=True).predict(FRAME)
    assert list(predicted.columns) == ["prediction"]


def test_an_exported_model_of_mlflow_needs_no_permission(mlflows):
    model = torch.nn.Linear(2, 1)
    x = np.ones((3, 2), dtype="float32")
    folder = mlflows(model, serialization_format="pt2", input_example=x)
    torch.testing.assert_close(load_model(folder)(torch.from_numpy(x)), model(torch.from_numpy(x)))
    assert read_package(folder).signature.inputs == (Field("input_0", "float", shape=(2,)),)
    predicted = load_predictor(folder).predict(pd.DataFrame({"input_0": [[1.0, 1.0]]}))
    assert predicted.shape == (1, 1)


def test_a_scripted_model_of_mlflow_needs_no_permission(mlflows):
    with pytest.warns(FutureWarning):
        model = torch.jit.script(torch.nn.Linear(2, 1))
    folder = mlflows(model, serialization_format="pickle")
    torch.testing.assert_close(load_model(folder).weight, model.weight)


def test_mlflow_scores_onnx_and_scikit_learn_of_ours(tmp_path):
    save_model(tmp_path / "onnx", doubling(), input_example=FRAME[["a"]])
    assert mlflow.pyfunc.load_model(str(tmp_path / "onnx")).predict(FRAME)["prediction"].tolist() == [1.0, 3.0]
    save_model(tmp_path / "sklearn", LinearRegression().fit(FRAME[["a"]], [1.0, 3.0]), input_example=FRAME[["a"]])
    predicted = mlflow.pyfunc.load_model(str(tmp_path / "sklearn")).predict(FRAME)
    np.testing.assert_allclose(predicted["prediction"], [1.0, 3.0])


def doubling():
    nodes = [onnx.helper.make_node("Add", ["x", "x"], ["y"])]
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["n", 1]) for n in "xy")
    opsets = [onnx.helper.make_opsetid("", 20)]
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y]), opset_imports=opsets, ir_version=10)


@pytest.mark.parametrize("apart", [False, True])
def test_an_onnx_model_of_mlflow_needs_no_permission(tmp_path, apart):
    mlflow.onnx.save_model(doubling(), str(tmp_path / "m"), save_as_external_data=apart, pip_requirements=["onnx"])
    assert read_package(tmp_path / "m").flavor == "onnx_graph"
    assert load_predictor(tmp_path / "m").predict(FRAME[["a"]])["prediction"].tolist() == [1.0, 3.0]


@pytest.mark.parametrize("format_", ["skops", "pickle", "cloudpickle"])
def test_a_scikit_learn_model_of_mlflow_loads_and_its_pickles_only_when_allowed(tmp_path, format_):
    model = LinearRegression().fit(FRAME, [1.0, 3.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own pickles
        mlflow.sklearn.save_model(
            model, str(tmp_path / "m"), serialization_format=format_, pip_requirements=["scikit-learn"]
        )
    if format_ != "skops":
        with pytest.raises(PickleRefusedError, match="allow_pickle=True"):
            load_model(tmp_path / "m")
    loaded = load_predictor(tmp_path / "m", allow_pickle=True)
    np.testing.assert_allclose(loaded.predict(FRAME)["prediction"], [1.0, 3.0])


def halves():
    class Halves(mlflow.pyfunc.PythonModel):
        def load_context(self, context):
            with open(context.artifacts["by"]) as file:
                self.by = float(file.read())

        def predict(self, context, model_input: pd.DataFrame):
            return model_input["a"] / self.by

    return Halves()


def test_any_other_model_of_mlflow_is_read_by_mlflow_when_that_is_allowed(tmp_path):
    (tmp_path / "by.txt").write_text("2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            str(tmp_path / "m"),
            python_model=halves(),
            artifacts={"by": str(tmp_path / "by.txt")},
            pip_requirements=["pandas"],
            signature=mlflow.models.infer_signature(FRAME[["a"]], FRAME["a"]),
        )
    assert read_package(tmp_path / "m").flavor == "mlflow_pyfunc"
    for arguments in ({}, {"allow_pickle": True, "allow_code": False}):
        with pytest.raises(PickleRefusedError, match=r"`mlflow\.pyfunc\.model`.*allow_pickle=True"):
            load_model(tmp_path / "m", **arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predicted = load_predictor(tmp_path / "m", allow_pickle=True).predict(FRAME)
    assert predicted["a"].tolist() == [0.25, 0.75]
    with pytest.raises(InvalidInputError, match="only read"):
        save_model(tmp_path / "n", halves(), flavor="mlflow_pyfunc")


def test_a_package_that_names_a_module_to_load_it_by_does_not_get_it_imported(tmp_path):
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: antigravity}}")
    with pytest.raises(PickleRefusedError, match="`antigravity`"):
        load_model(tmp_path)
    assert "antigravity" not in sys.modules


def test_the_loader_is_what_mlflow_imports():
    from mlwarehouse.models.saving import LOADER_MODULE

    __import__(LOADER_MODULE)
    assert callable(sys.modules[LOADER_MODULE]._load_pyfunc)
