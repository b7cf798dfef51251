"""Models of MLflow's clients: logged, registered and loaded through the server, and by us without it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException, RestException

import mlwarehouse
from mlwarehouse.registry import Policy

from .serving import Server

pytestmark = [
    pytest.mark.usefixtures("client"),
    pytest.mark.filterwarnings("ignore:Hint. Inferred schema contains integer column:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*type hint:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # scikit-learn's and MLflow's own
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def doubling() -> Any:
    """The smallest model; made here, since defining it warns."""

    class Doubling(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input * 2

    return Doubling()


def log_doubling(name: str = "doubling") -> tuple[Any, Any]:
    with mlflow.start_run() as run:
        info = mlflow.pyfunc.log_model(name=name, python_model=doubling(), pip_requirements=[])
    return run, info


def test_a_model_is_logged_registered_and_loaded_by_each_address(
    client: Any, experiment: str, new_name: Callable[[], str]
) -> None:
    mlflow.set_experiment(experiment_id=experiment)
    run, info = log_doubling()
    name = new_name()
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    version = mlflow.register_model(info.model_uri, name)
    assert (version.version, version.run_id, version.source) == ("1", run.info.run_id, info.model_uri)
    client.set_registered_model_alias(name, "best", "1")
    client.transition_model_version_stage(name, "1", "Production")
    for uri in (
        info.model_uri,
        f"runs:/{run.info.run_id}/doubling",
        f"models:/{name}/1",
        f"models:/{name}@best",
        f"models:/{name}/Production",
        f"models:/{name}/latest",
    ):
        assert mlflow.pyfunc.load_model(uri).predict(frame).x.tolist() == [2.0, 4.0], uri
    logged = client.get_logged_model(info.model_id)
    assert (logged.status, logged.source_run_id, logged.name) == ("READY", run.info.run_id, "doubling")
    assert name in logged.tags["mlflow.modelVersions"]
    (made,) = client.get_run(run.info.run_id).outputs.model_outputs
    assert made.model_id == info.model_id
    again = mlflow.register_model(f"runs:/{run.info.run_id}/doubling", name)
    assert again.version == "2"


def test_what_mlflow_registered_is_loaded_without_it(
    experiment: str, server: Server, new_name: Callable[[], str]
) -> None:
    from sklearn.linear_model import LogisticRegression

    frame, y = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]}), np.array([0, 0, 1, 1])
    mlflow.set_experiment(experiment_id=experiment)
    # Inferring what an autologged model requires takes another process, and half a minute of it.
    mlflow.sklearn.autolog(log_datasets=False, log_models=False)
    try:
        with mlflow.start_run() as run:
            model = LogisticRegression().fit(frame, y)
            mlflow.sklearn.log_model(model, name="model", pip_requirements=[])
    finally:
        mlflow.sklearn.autolog(disable=True)
    read = mlflow.get_run(run.info.run_id)
    assert read.data.params["C"] == "1.0"
    assert read.data.metrics["training_accuracy_score"] == 1.0
    (made,) = read.outputs.model_outputs
    name = new_name()
    mlflow.register_model(f"models:/{made.model_id}", name)
    loaded = mlflow.sklearn.load_model(f"models:/{name}/1")
    assert loaded.predict(frame).tolist() == model.predict(frame).tolist()
    warehouse = mlwarehouse.Warehouse(server.place)
    version = warehouse.registry.get_model_version(name, 1)
    assert version.source == f"runs:/{run.info.run_id}/models/{made.model_id}"
    ours = warehouse.load_model(f"models:/{name}/1", allow_pickle=True)
    assert ours.predict(frame).tolist() == model.predict(frame).tolist()
    rows = frame.assign(id=list("abcd"))
    assert warehouse.score(rows, f"models:/{name}/1", key="id", dataset=name, allow_pickle=True).n_rows == 4
    scored = warehouse.sql("SELECT value FROM predictions WHERE dataset = $d ORDER BY row_key", parameters={"d": name})
    assert scored["value"].tolist() == model.predict(frame).tolist()
    warehouse.close()


def test_a_policy_holds_for_clients_of_mlflow(client: Any, server: Server, new_name: Callable[[], str]) -> None:
    name = new_name()
    client.create_registered_model(name)
    client.create_model_version(name, "s3://bucket/model")
    with contextlib.closing(mlwarehouse.Warehouse(server.place)) as warehouse:
        admin = warehouse.registry_as("root", ["admin"])
        admin.set_policy(Policy(name, models=name, stages=("Production",), movers=("lead",)))
    client.transition_model_version_stage(name, "1", "Staging")
    with pytest.raises(RestException, match="is for `lead`") as refused:
        client.transition_model_version_stage(name, "1", "Production")
    assert refused.value.error_code == "PERMISSION_DENIED"
    assert refused.value.get_http_status_code() == 403
    assert client.get_model_version(name, "1").current_stage == "Staging"


def test_models_are_searched_tagged_and_deleted(client: Any, experiment: str, server: Server) -> None:
    ids = {}
    for n in range(5):
        made = server.post(
            "logged-models",
            experiment_id=experiment,
            name=f"net-{n % 2}",
            model_type="test",
            params=[{"key": "depth", "value": str(n)}],
            tags=[{"key": "team", "value": "nlp"}],
        )["model"]["info"]
        ids[n] = made["model_id"]
        assert made["status"] == "LOGGED_MODEL_PENDING"
        assert made["artifact_uri"] == f"mlflow-artifacts:/{experiment}/models/{made['model_id']}/artifacts"
    client.set_logged_model_tags(ids[1], {"checked": "yes"})
    client.delete_logged_model_tag(ids[1], "team")
    client.finalize_logged_model(ids[0], "READY")
    client.delete_logged_model(ids[4])
    find = client.search_logged_models
    assert [m.model_id for m in find([experiment], filter_string="name = 'net-1'")] == [ids[3], ids[1]]
    assert [m.model_id for m in find([experiment], filter_string="params.depth = '2' AND tags.team = 'nlp'")] == [
        ids[2]
    ]
    assert [m.model_id for m in find([experiment], filter_string="status = 'READY'")] == [ids[0]]
    assert client.get_logged_model(ids[1]).tags == {"checked": "yes"}
    order = [{"field_name": "creation_timestamp", "ascending": True}]
    first = find([experiment], order_by=order, max_results=3)
    rest = find([experiment], order_by=order, max_results=3, page_token=first.token)
    assert [m.model_id for m in [*first, *rest]] == [ids[n] for n in range(4)]
    assert rest.token is None
    with pytest.raises(RestException, match="not found"):
        client.get_logged_model(ids[4])
    status, answer = server.ask("POST", "logged-models", {"experiment_id": experiment, "name": "a/b"})
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_the_registry_speaks_as_mlflows(
    client: Any, experiment: str, server: Server, new_name: Callable[[], str]
) -> None:
    name, run_id = new_name(), server.run(experiment)
    made = client.create_registered_model(name, tags={"team": "nlp"}, description="The first.")
    assert (made.name, made.tags, made.description) == (name, {"team": "nlp"}, "The first.")
    with pytest.raises(RestException, match="already exists") as taken:
        client.create_registered_model(name)
    assert taken.value.error_code == "RESOURCE_ALREADY_EXISTS"
    for n in (1, 2, 3):
        source = f"mlflow-artifacts:/{experiment}/{run_id}/artifacts/model"
        version = client.create_model_version(name, source, run_id, tags={"n": str(n)}, description=f"v{n}")
        assert (version.version, version.source, version.status) == (str(n), f"runs:/{run_id}/model", "READY")
    assert (
        client.get_model_version_download_uri(name, "1") == f"mlflow-artifacts:/{experiment}/{run_id}/artifacts/model"
    )
    client.transition_model_version_stage(name, "1", "Staging")
    client.transition_model_version_stage(name, "2", "staging", archive_existing_versions=True)
    assert {v.version: v.current_stage for v in client.search_model_versions(f"name = '{name}'")} == {
        "3": "None",
        "2": "Staging",
        "1": "Archived",
    }
    assert [v.version for v in client.get_latest_versions(name, ["Staging"])] == ["2"]
    client.set_registered_model_alias(name, "champion", "2")
    assert client.get_model_version_by_alias(name, "champion").version == "2"
    client.delete_registered_model_alias(name, "champion")
    client.delete_registered_model_alias(name, "champion")
    with pytest.raises(RestException, match="alias champion not found") as missing:
        client.get_model_version_by_alias(name, "champion")
    assert missing.value.error_code == "INVALID_PARAMETER_VALUE"
    client.set_model_version_tag(name, "3", "checked", "yes")
    client.delete_model_version_tag(name, "3", "n")
    assert client.get_model_version(name, "3").tags == {"checked": "yes"}
    client.set_registered_model_tag(name, "owner", "ada")
    client.delete_registered_model_tag(name, "team")
    assert client.get_registered_model(name).tags == {"owner": "ada"}
    client.update_model_version(name, "3", "Better.")
    client.update_registered_model(name, "All of them.")
    assert client.get_model_version(name, "3").description == "Better."
    client.delete_model_version(name, "3")
    assert client.create_model_version(name, f"runs:/{run_id}/model", run_id).version == "4"
    found = client.search_registered_models(f"name = '{name}' AND tags.`mlflow.prompt.is_prompt` != 'true'")
    assert [m.name for m in found] == [name]
    client.rename_registered_model(name, f"{name}-new")
    with pytest.raises(RestException, match="not found") as gone:
        client.get_model_version(f"{name}-other", "1")
    assert gone.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    client.delete_registered_model(f"{name}-new")
    with pytest.raises(RestException, match=f"Registered Model with name={name}-new not found"):
        client.get_registered_model(f"{name}-new")


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "runs:/nobody/model",
        "models:/m-" + "0" * 32,
        "../x",
        "s3://b/../x",
        "C:\\x",
    ],
)
def test_no_source_leads_elsewhere(client: Any, server: Server, new_name: Callable[[], str], source: str) -> None:
    """MLflow's CVE-2023-6831, CVE-2024-27132 and their like began with a version whose source was a local path."""
    name = new_name()
    client.create_registered_model(name)
    status, answer = server.ask("POST", "model-versions/create", {"name": name, "source": source})
    assert status in (400, 404), answer
    assert not client.search_model_versions(f"name = '{name}'")


def test_clients_before_3_keep_their_models_in_a_tag(server: Server, experiment: str) -> None:
    run_id = server.run(experiment)
    model = {"artifact_path": "model", "flavors": {}, "utc_time_created": "now", "run_id": run_id}
    for _ in range(2):
        server.post("runs/log-model", run_id=run_id, model_json=json.dumps(model))
    tags = {t["key"]: t["value"] for t in server.get("runs/get", run_id=run_id)["run"]["data"]["tags"]}
    assert json.loads(tags["mlflow.log-model.history"]) == [model, model]
    for bad in ("{}", "[", "text"):
        assert server.ask("POST", "runs/log-model", {"run_id": run_id, "model_json": bad})[0] == 400


def test_a_missing_artifact_is_said_to_be_missing(client: Any, experiment: str) -> None:
    run_id = client.create_run(experiment).info.run_id
    with pytest.raises(MlflowException, match=r"none\.txt"):
        mlflow.artifacts.load_text(f"runs:/{run_id}/none.txt")
