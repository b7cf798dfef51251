"""What MLflow itself has written, and what it says of it."""

from __future__ import annotations

import warnings

import mlflow
import pandas as pd


def test_search_runs_answers_as_mlflow_does(warehouse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    before = mlflow.get_tracking_uri()
    with warnings.catch_warnings():
        # Of MLflow's own making.
        warnings.simplefilter("ignore")
        mlflow.set_tracking_uri(uri)
        try:
            mlflow.set_experiment("digits")
            with mlflow.start_run(run_name="parent", tags={"team": "vision"}, description="# why"):
                mlflow.log_params({"lr": 0.1, "long": "x" * 400, "lines": "a\nb"})
                mlflow.log_metrics({"loss": 0.5, "a/b": float("nan")}, step=1)
                mlflow.log_metric("loss", float("inf"), step=2)
                mlflow.log_metric("loss", 0.25, step=2)
                mlflow.log_text("hi", "notes/x.txt")
                with mlflow.start_run(nested=True, run_name="child"):
                    mlflow.log_metric("acc", 1)
            with mlflow.start_run(run_name="gone") as gone:
                pass
            mlflow.delete_run(gone.info.run_id)
            theirs = mlflow.search_runs(experiment_names=["digits"], run_view_type=3)
        finally:
            mlflow.set_tracking_uri(before)
    assert warehouse.import_(uri).added["artifacts"] == 1
    ours = warehouse.search_runs(experiment_names=["digits"], run_view_type=3)
    # The files are here now.
    columns = [c for c in theirs.columns if c != "artifact_uri"]
    assert set(ours.columns) == set(theirs.columns)
    pd.testing.assert_frame_equal(
        ours[columns].sort_values("run_id", ignore_index=True),
        theirs[columns].sort_values("run_id", ignore_index=True),
        check_dtype=False,
    )
