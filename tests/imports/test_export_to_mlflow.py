"""An export to MLflow's own server, and back."""

from __future__ import annotations

import math
import uuid
import warnings

import mlflow
import pandas as pd
import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import NotFoundError, StorageError
from mlwarehouse.exports import mlflow_runs, to_mlflow
from mlwarehouse.imports.rest_client import RestClient

from .mlruns_store import experiment, lines, run


@pytest.fixture
def full(tmp_path):
    """A warehouse with all that MLflow has too."""
    warehouse = Warehouse(tmp_path / "full", committer="off", capture_code=False)
    with warehouse.start_run(
        experiment="ours", run_name="parent", tags={"team": "vision"}, description="# why"
    ) as parent:
        parent.log_params({"lr": 0.1, "lines": "a\nb", "empty": ""})
        parent.log_metrics({"a/b c": math.nan, "acc": 0.5}, step=3)
        for step in range(50):
            parent.log_metric("loss", 1 / (step + 1), step=step)
        parent.log_text("hi", "notes/ä & b.txt")
        parent.log_input(pd.DataFrame({"x": [1]}), name="d", context="training")
        with warehouse.start_run(experiment="ours", run_name="child", nested=True) as child:
            child.log_metric("acc", 1.0)
    with pytest.raises(ZeroDivisionError), warehouse.start_run(experiment="other", run_name="failed"):
        raise ZeroDivisionError
    warehouse.flush()
    trash = experiment(tmp_path / "mlruns", "7", f"gone {parent.run_id}", folder=".trash/7", stage="deleted")
    run(trash, uuid.uuid4().hex, metrics={"acc": lines("1")})
    warehouse.import_(tmp_path / "mlruns")
    registry = warehouse.registry
    registry.create_registered_model("exported", description="the net", tags={"task": "text"})
    for number, source in enumerate(("s3://x/1", "s3://x/2", f"runs:/{parent.run_id}/notes"), start=1):
        run_id = parent.run_id if number == 3 else None
        registry.create_model_version("exported", source=source, run_id=run_id, digest=None, tags={"n": str(number)})
    registry.delete_model_version("exported", 2)
    registry.transition_model_version_stage("exported", 1, "Production")
    registry.transition_model_version_stage("exported", 3, "Development")
    registry.set_model_alias("exported", "champion", 3)
    yield warehouse
    warehouse.close()


def frame(warehouse: Warehouse) -> pd.DataFrame:
    """All runs, but for what REST makes anew."""
    found = warehouse.search_runs(experiment_names=["ours", "other"], run_view_type=3)
    anew = ["run_id", "experiment_id", "artifact_uri", "tags.mlflow.parentRunId"]
    marks = ["tags.mlwarehouse.run_id", "tags.mlwarehouse.exported"]
    kept = [c for c in found.columns if c not in {*anew, *marks}]
    for time in ("start_time", "end_time"):
        # MLflow's times are milliseconds.
        found[time] = found[time].dt.floor("ms")
    return found[sorted(kept)].sort_values("tags.mlflow.runName", ignore_index=True)


def points(warehouse: Warehouse) -> list[tuple[str, ...]]:
    question = """
        SELECT run_name, key, step, CAST(value AS VARCHAR), EPOCH_MS(event_at)
        FROM metrics INNER JOIN runs ON metrics.run_id = runs.run_id
        WHERE experiment_name IN ('ours', 'other') ORDER BY ALL"""
    return [tuple(map(str, row.values())) for row in warehouse.engine().query(question).to_pylist()]


def sent(report) -> dict[str, int]:
    return {name: n for name, n in report.added.items() if n}


def test_all_that_mlflow_has_too_goes_there_and_comes_back(full, mlflow_address, tmp_path, monkeypatch):
    monkeypatch.setattr(mlflow_runs, "POINTS_A_CALL", 20)
    monkeypatch.setattr(to_mlflow, "BATCH_RUNS", 2)
    report = full.export(mlflow_address)
    counted = sent(report)
    expected = {"experiments": 3, "runs": 4, "params": 3, "points": 54, "inputs": 1, "artifacts": 1}
    assert report.oddity_counts() == {"stage left out": 1}, report.oddities
    assert counted.items() >= {**expected, "models": 1, "model_versions": 2, "model_aliases": 1}.items()
    assert report.oddity_counts() == {"stage left out": 1}
    back = Warehouse(tmp_path / "back", committer="off")
    back.import_(mlflow_address)
    pd.testing.assert_frame_equal(frame(back), frame(full), check_dtype=False)
    assert points(back) == points(full)
    (parent,) = back.search_runs(filter_string="attributes.run_name = 'parent'", search_all_experiments=True)["run_id"]
    (child,) = back.search_runs(filter_string="attributes.run_name = 'child'", search_all_experiments=True)["run_id"]
    assert back.get_run(child).data.tags["mlflow.parentRunId"] == parent
    assert back.get_run(parent).data.tags["mlwarehouse.run_id"] != parent
    first, third = (back.get_model_version("exported", n) for n in (1, 3))
    assert (first.source, first.current_stage, dict(first.tags)) == ("s3://x/1", "Production", {"n": "1"})
    assert (third.source, third.aliases, third.run_id) == (f"runs:/{parent}/notes", ("champion",), parent)
    assert [v.version for v in back.search_model_versions("name = 'exported'")] == [3, 1]
    gone = back.sql("SELECT lifecycle_stage FROM experiments WHERE STARTS_WITH(name, 'gone')")
    assert list(gone["lifecycle_stage"]) == ["deleted"]
    back.close()

    # Again sends nothing: not a single call that changes something.
    def refuse(*_, **__):
        raise AssertionError("something was sent")

    with monkeypatch.context() as patch:
        allowed = ("mlflow/experiments/search", "mlflow/runs/search")
        for name in ("send", "post"):
            given = getattr(RestClient, name)
            patch.setattr(
                RestClient,
                name,
                lambda self, path, *a, given=given, **k: given(self, path, *a, **k) if path in allowed else refuse(),
            )
        # But for the stage that MLflow lacks, nothing is left to say.
        assert sent(full.export(mlflow_address)) == {}

    # Only what came since.
    run_id = full.search_runs(experiment_names=["other"])["run_id"][0]
    with full.start_run(run_id=run_id) as again:
        again.log_metric("late", 0.25)
        again.set_tag("team", "audio")
    full.flush()
    with warnings.catch_warnings():
        # Of MLflow's own making.
        warnings.simplefilter("ignore")
        assert sent(full.export(mlflow_address, experiment_names=["other"])).items() >= {"runs": 1, "points": 1}.items()
        client = mlflow.MlflowClient(mlflow_address)
        other = client.get_experiment_by_name("other").experiment_id
        (there,) = client.search_runs([other])
    assert (there.info.status, there.data.metrics, there.data.tags["team"]) == ("FINISHED", {"late": 0.25}, "audio")


def test_an_export_that_was_killed_goes_on(full, mlflow_address, monkeypatch):
    """It is another warehouse's runs, so all is sent; calls fail one after the other."""
    counted, given = 0, RestClient._answer
    most = 0

    def failing(self, method, *arguments):
        nonlocal counted
        counted += 1
        if counted > most:
            raise StorageError("killed")
        return given(self, method, *arguments)

    monkeypatch.setattr(RestClient, "_answer", failing)
    n_kills = 0
    while True:
        counted = 0
        most += 3
        try:
            full.export(mlflow_address, experiment_names=["ours"])
            break
        except StorageError:
            n_kills += 1
    assert n_kills > 1
    monkeypatch.undo()
    ids = set(full.search_runs(experiment_names=["ours"])["run_id"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = mlflow.MlflowClient(mlflow_address)
        ours = client.get_experiment_by_name("ours").experiment_id
        there = [r for r in client.search_runs([ours]) if r.data.tags["mlwarehouse.run_id"] in ids]
        parent = next(r for r in there if r.info.run_name == "parent")
        history = client.get_metric_history(parent.info.run_id, "loss")
    assert len(there) == 2
    assert sorted(p.step for p in history) == list(range(50))


def test_a_model_of_another_warehouse_is_left_alone(full, mlflow_address):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = mlflow.MlflowClient(mlflow_address)
        if not client.search_registered_models("name = 'exported'"):
            client.create_registered_model("exported")
    report = full.export(mlflow_address)
    assert (report.added["models"], report.added["model_versions"]) == (0, 0)
    assert report.oddity_counts()["model name taken"] == 1


def test_what_can_not_be_is_refused(full, mlflow_address, monkeypatch):
    monkeypatch.setattr("mlwarehouse.imports.rest_client.time.sleep", lambda _: None)
    with pytest.raises(NotFoundError, match="Did you mean `ours`"):
        full.export(mlflow_address, experiment_names=["our"])
    with pytest.raises(StorageError, match="doesn't answer"):
        full.export("http://127.0.0.1:1")


def test_what_mlflow_lacks_is_told_and_the_rest_is_sent(mlflow_address, tmp_path):
    warehouse = Warehouse(tmp_path / "odd", committer="off", capture_code=False)
    with warehouse.start_run(experiment="odd", run_name="odd") as odd:
        odd.log_params({"long": "x" * 7000, "fine": "1", "a//b": "2"})
        odd.log_metric("acc", 0.5, context={"subset": "val"})
    warehouse.flush()
    twice = {"step": [1, 1, 2], "value": [0.25, 0.25, math.inf], "timestamp": [5, 5, 5]}
    warehouse.bulk_log_metrics(twice, run_id=odd.run_id, key="loss", source_id="s")
    report = warehouse.export(mlflow_address, experiment_names=["odd"])
    assert (report.added["params"], report.added["points"]) == (2, 3)
    told = {"param refused": 1, "param cut": 1, "points alike": 1, "contexts left out": 1}
    assert report.oddity_counts() == told
    assert "2 params, 3 points" in str(report)
    # What is refused once is not asked for again, until there is more of the run.
    assert warehouse.export(mlflow_address, experiment_names=["odd"]).oddities == []
    warehouse.close()
