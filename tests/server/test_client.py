"""MLflow's own client, unmodified, logs to the server and reads from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import RestException

pytestmark = [
    pytest.mark.usefixtures("client"),
    pytest.mark.filterwarnings("ignore:Hint. Inferred schema contains integer column:UserWarning"),
]


def test_a_script_logs_and_reads_back_what_it_logged(new_name: Callable[[], str]) -> None:
    name = new_name()
    experiment = mlflow.set_experiment(name)
    assert mlflow.set_experiment(name).experiment_id == experiment.experiment_id
    with mlflow.start_run(run_name="one", tags={"team": "nlp"}, description="the first") as run:
        mlflow.log_param("lr", 0.1)
        mlflow.log_params({"depth": 3, "note": ""})
        for step in range(5):
            mlflow.log_metric("val/loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"nan": math.nan, "inf": math.inf}, step=3)
        mlflow.set_tags({"a": "1", "b": "2"})
        mlflow.delete_tag("b")
        frame = pd.DataFrame({"x": [1, 2]})
        mlflow.log_input(mlflow.data.from_pandas(frame, name="numbers"), context="training")
        with mlflow.start_run(nested=True) as child:
            mlflow.log_metric("val/loss", 9.0)
        read = mlflow.get_run(run.info.run_id)
        assert read.info.status == "RUNNING"
        assert read.info.end_time is None
    read = mlflow.get_run(run.info.run_id)
    assert read.info.status == "FINISHED"
    assert read.info.start_time == run.info.start_time
    assert read.info.end_time >= read.info.start_time
    assert read.info.run_name == read.data.tags["mlflow.runName"] == "one"
    assert read.data.params == {"lr": "0.1", "depth": "3", "note": ""}
    assert read.data.metrics["val/loss"] == 0.2
    assert math.isnan(read.data.metrics["nan"])
    assert read.data.metrics["inf"] == math.inf
    assert {k: v for k, v in read.data.tags.items() if not k.startswith("mlflow.")} == {"team": "nlp", "a": "1"}
    (used,) = read.inputs.dataset_inputs
    assert (used.dataset.name, used.tags[0].value) == ("numbers", "training")
    assert mlflow.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == run.info.run_id
    found = mlflow.search_runs(experiment_names=[name], filter_string="metrics.`val/loss` < 1 AND params.depth = '3'")
    assert found.run_id.tolist() == [run.info.run_id]
    assert found["tags.team"].tolist() == ["nlp"]


def test_a_resumed_run_goes_on(client: Any, experiment: str) -> None:
    mlflow.set_experiment(experiment_id=experiment)
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 1.0, step=1)
    with mlflow.start_run(run_id=run.info.run_id):
        assert client.get_run(run.info.run_id).info.status == "RUNNING"
        mlflow.log_metric("loss", 0.5, step=2)
    read = client.get_run(run.info.run_id)
    assert read.info.status == "FINISHED"
    assert read.data.metrics == {"loss": 0.5}
    assert [m.value for m in client.get_metric_history(run.info.run_id, "loss")] == [1.0, 0.5]


def test_a_run_that_fails_is_failed(experiment: str, client: Any) -> None:
    mlflow.set_experiment(experiment_id=experiment)
    with pytest.raises(ValueError, match="on purpose"), mlflow.start_run() as run:
        raise ValueError("on purpose")
    assert client.get_run(run.info.run_id).info.status == "FAILED"


def test_asynchronous_logging_arrives(experiment: str, client: Any) -> None:
    mlflow.set_experiment(experiment_id=experiment)
    with mlflow.start_run() as run:
        for step in range(50):
            mlflow.log_metric("loss", float(step), step=step, synchronous=False)
        mlflow.log_params({f"p{n}": n for n in range(20)}, synchronous=False)
    mlflow.flush_async_logging()
    assert [m.step for m in client.get_metric_history(run.info.run_id, "loss")] == list(range(50))
    assert len(client.get_run(run.info.run_id).data.params) == 20


def test_large_batches_are_cut_by_the_client_and_kept_whole(experiment: str, client: Any) -> None:
    run = client.create_run(experiment)
    mlflow.MlflowClient().log_batch(
        run.info.run_id,
        metrics=[Metric("m", float(n), 1_772_366_400_000 + n, n) for n in range(1000)],
    )
    client.log_batch(
        run.info.run_id,
        params=[Param(f"p{n}", str(n)) for n in range(100)],
        tags=[RunTag(f"t{n}", str(n)) for n in range(100)],
    )
    read = client.get_run(run.info.run_id)
    assert (len(read.data.params), read.data.metrics) == (100, {"m": 999.0})
    assert {k for k in read.data.tags if k.startswith("t")} == {f"t{n}" for n in range(100)}
    assert [m.value for m in client.get_metric_history(run.info.run_id, "m")] == [float(n) for n in range(1000)]


def test_pages_of_a_search_hold_every_run_once(experiment: str, client: Any) -> None:
    ids = []
    for n in range(7):
        run = client.create_run(experiment, start_time=1_772_366_400_000 + n)
        client.log_metric(run.info.run_id, "score", float(n % 3), step=0)
        ids.append(run.info.run_id)
    client.delete_run(ids[6])
    found, token = [], None
    while True:
        page = client.search_runs([experiment], order_by=["metrics.score DESC"], max_results=2, page_token=token)
        found += [run.info.run_id for run in page]
        token = page.token
        if token is None:
            break
    assert found == [ids[5], ids[2], ids[4], ids[1], ids[3], ids[0]]
    deleted = client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)
    assert [run.info.run_id for run in deleted] == [ids[6]]
    client.restore_run(ids[6])
    assert len(client.search_runs([experiment])) == 7


def test_a_deleted_run_is_read_and_not_written(experiment: str, client: Any) -> None:
    run_id = client.create_run(experiment).info.run_id
    client.delete_run(run_id)
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    with pytest.raises(RestException, match="must be in the 'active' state"):
        client.log_metric(run_id, "m", 1.0)
    client.restore_run(run_id)
    client.log_metric(run_id, "m", 1.0)


def test_params_are_set_once(experiment: str, client: Any) -> None:
    run_id = client.create_run(experiment).info.run_id
    client.log_param(run_id, "lr", 1)
    client.log_param(run_id, "lr", 1)
    with pytest.raises(mlflow.MlflowException, match="Changing param values is not allowed"):
        client.log_param(run_id, "lr", 2)
    with pytest.raises(mlflow.MlflowException, match="Changing param values is not allowed"):
        client.log_batch(run_id, params=[Param("lr", "2"), Param("new", "1")], tags=[RunTag("t", "1")])
    read = client.get_run(run_id)
    assert read.data.params == {"lr": "1"}
    assert "t" not in read.data.tags


def test_experiments_are_searched_changed_deleted_and_restored(client: Any, new_name: Callable[[], str]) -> None:
    names = sorted(new_name() for _ in range(4))
    group = names[0]
    ids = {name: client.create_experiment(name, tags={"group": group}) for name in names}
    client.set_experiment_tag(ids[names[1]], "kind", "best")
    found = client.search_experiments(filter_string=f"tags.group = '{group}' AND tags.kind ILIKE 'B%'")
    assert [e.name for e in found] == [names[1]]
    listed = client.search_experiments(filter_string=f"tags.group = '{group}'", order_by=["name ASC"], max_results=3)
    assert [e.name for e in listed] == names[:3]
    rest = client.search_experiments(
        filter_string=f"tags.group = '{group}'", order_by=["name ASC"], max_results=3, page_token=listed.token
    )
    assert ([e.name for e in rest], rest.token) == (names[3:], None)
    run_id = client.create_run(ids[names[0]]).info.run_id
    client.delete_experiment(ids[names[0]])
    assert client.get_experiment(ids[names[0]]).lifecycle_stage == "deleted"
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    with pytest.raises(RestException, match="already exists") as taken:
        client.create_experiment(names[0])
    assert taken.value.error_code == "RESOURCE_ALREADY_EXISTS"
    with pytest.raises(RestException, match="must be in the 'active' state"):
        client.create_run(ids[names[0]])
    client.restore_experiment(ids[names[0]])
    assert client.get_run(run_id).info.lifecycle_stage == "active"
    client.rename_experiment(ids[names[0]], f"{names[0]}-renamed")
    assert client.get_experiment_by_name(names[0]) is None
    again = client.create_experiment(names[0])
    assert again != ids[names[0]]
    assert client.get_experiment_by_name(f"{names[0]}-renamed").experiment_id == ids[names[0]]


def test_what_is_not_there_is_said_as_mlflow_says_it(client: Any) -> None:
    with pytest.raises(RestException, match="Run with id=nothing not found") as missing:
        client.get_run("nothing")
    assert missing.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert mlflow.get_experiment_by_name("nobody has this name") is None
    with pytest.raises(RestException, match="No Experiment with id=123456 exists"):
        client.get_experiment("123456")
