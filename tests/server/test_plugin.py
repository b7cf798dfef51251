"""MLflow's client without a server, by the plug-in."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import RestException
from mlflow.store.artifact import artifact_repository_registry
from mlflow.tracking._model_registry import utils as registries
from mlflow.tracking._tracking_service import utils as trackers

from mlwarehouse import Warehouse, mlflow_plugin

from .serving import ROOT, mlflow_set_to

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*type hint:UserWarning"),
    pytest.mark.filterwarnings("ignore:Hint. Inferred schema contains integer column:UserWarning"),
]

REGISTRIES = {
    "mlflow.tracking_store": trackers._tracking_store_registry,
    "mlflow.model_registry_store": registries._get_store_registry(),
    "mlflow.artifact_repository": artifact_repository_registry._artifact_repository_registry,
}
ENTRY_POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A warehouse's folder that MLflow is set to. What `pip install` would do for the entry points is done here."""
    for group, registry in REGISTRIES.items():
        for scheme, name in ENTRY_POINTS[group].items():
            module, _, attribute = name.partition(":")
            registry.register(scheme, getattr(importlib.import_module(module), attribute))
    with mlflow_set_to(f"mlwarehouse://{tmp_path}/wh"):
        yield tmp_path / "wh"
    mlflow_plugin.open_store(f"mlwarehouse://{tmp_path}/wh").close()


def test_a_script_logs_registers_and_loads_without_a_server(place: Path, tmp_path: Path) -> None:
    class Doubling(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input * 2

    mlflow.set_experiment("first")
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "x.txt").write_text("deep")
    with mlflow.start_run(run_name="one") as run:
        mlflow.log_params({"lr": 0.1})
        mlflow.log_metrics({"loss": 0.5}, step=3)
        mlflow.log_artifacts(str(tmp_path / "in"), "all")
        mlflow.log_text("hello", "hello.txt")
        info = mlflow.pyfunc.log_model(name="net", python_model=Doubling(), pip_requirements=[])
        with mlflow.start_run(nested=True):
            mlflow.log_metric("loss", 1.0)
    found = mlflow.search_runs(experiment_names=["first"], filter_string="metrics.loss < 1")
    assert found.run_id.tolist() == [run.info.run_id]
    client = mlflow.MlflowClient()
    assert [f.path for f in client.list_artifacts(run.info.run_id, "all/deep")] == ["all/deep/x.txt"]
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/hello.txt") == "hello"
    assert mlflow.register_model(info.model_uri, "net").version == "1"
    client.set_registered_model_alias("net", "best", "1")
    predicted = mlflow.pyfunc.load_model("models:/net@best").predict(pd.DataFrame({"x": [1.0]}))
    assert predicted.x.tolist() == [2.0]
    with pytest.raises(RestException, match="Run with id=nothing not found"):
        client.get_run("nothing")
    with pytest.raises(RestException, match="isn't answered by mlwarehouse"):
        client.search_traces([found.experiment_id[0]])
    warehouse = Warehouse(place)
    assert warehouse.get_run(run.info.run_id).data.params == {"lr": "0.1"}
    assert warehouse.registry.get_model_version_by_alias("net", "best").version == 1
    warehouse.close()


def test_what_a_process_logged_is_there_when_it_has_ended(place: Path) -> None:
    code = (
        "import mlflow, mlwarehouse.mlflow_plugin as p\n"
        "from mlflow.tracking._tracking_service import utils\n"
        "utils._tracking_store_registry.register('mlwarehouse', p.TrackingStore)\n"
        f"mlflow.set_tracking_uri('mlwarehouse://{place}')\n"
        "with mlflow.start_run(run_name='elsewhere'): mlflow.log_metric('m', 1.0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=300)
    (run,) = mlflow.search_runs(experiment_ids=["0"], output_format="list")
    assert (run.info.run_name, run.info.status, run.data.metrics) == ("elsewhere", "FINISHED", {"m": 1.0})


@pytest.mark.parametrize("uri", ["mlwarehouse://", "mlwarehouse:relative", "mlwarehouse://host/path", "file:///x"])
def test_other_addresses_are_refused(uri: str) -> None:
    with pytest.raises(mlflow_plugin.InvalidInputError, match="isn't the address of a warehouse"):
        mlflow_plugin.open_store(uri)
