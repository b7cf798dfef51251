"""MLflow loads our packages, and we load MLflow's."""

from __future__ import annotations

import sys
import warnings

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch

from mlwarehouse.errors import PickleRefusedError
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
    assert read_package(folder).signature.inputs == (Field("input_0", "float", 1),)
    predicted = load_predictor(folder).predict(pd.DataFrame({"input_0": [[1.0, 1.0]]}))
    assert predicted.shape == (1, 1)


def test_a_scripted_model_of_mlflow_needs_no_permission(mlflows):
    with pytest.warns(FutureWarning):
        model = torch.jit.script(torch.nn.Linear(2, 1))
    folder = mlflows(model, serialization_format="pickle")
    torch.testing.assert_close(load_model(folder).weight, model.weight)


def test_the_loader_is_what_mlflow_imports():
    from mlwarehouse.models.saving import LOADER_MODULE

    __import__(LOADER_MODULE)
    assert callable(sys.modules[LOADER_MODULE]._load_pyfunc)
