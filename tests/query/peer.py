"""The same runs in MLflow's own store and in our tables, and what it takes to compare the two.

Where MLflow's answer is an artefact of its store the difference is stated here: it keeps an infinity as the largest
double, names files where they are, writes its own tags into each run, and orders new columns by chance.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

FIRST = 1772366400000
"""The first run's start, in milliseconds: noon of `tests.views.rows`."""

RUN_TABLES = ("run_events", "metrics", "param_events", "tag_events", "input_events")


def empty_rows(experiments: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Rows by table: so far only those of the experiments, given by id with their names."""
    created = [{"experiment_id": i, "kind": "created", "name": name} for i, name in experiments.items()]
    return {"experiment_events": created} | {table: [] for table in RUN_TABLES}


def log_to_mlflow(client: Any, experiment_id: str, run: dict[str, Any]) -> str:
    """Log a run as planned; returns its id."""
    made = client.create_run(experiment_id, start_time=run["start"], run_name=run["name"], tags=run.get("first_tags"))
    run_id: str = made.info.run_id
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, time, step) for key, value, step, time in run["metrics"]],
        params=[Param(k, v) for k, v in run["params"].items()],
        tags=[RunTag(k, v) for k, v in run["tags"].items()],
    )
    inputs = []
    for name, digest, context in run["datasets"]:
        tags = [] if context is None else [InputTag("mlflow.data.context", context)]
        inputs.append(DatasetInput(Dataset(name=name, digest=digest, source_type="local", source="{}"), tags))
    if inputs:
        client.log_inputs(run_id, inputs)
    if run["end"]:
        client.set_terminated(run_id, run["status"], end_time=run["end"])
    elif run["status"] != "RUNNING":
        client.update_run(run_id, status=run["status"])
    if run["deleted"]:
        client.delete_run(run_id)
    return run_id


def log_to_tables(
    rows: dict[str, list[dict[str, Any]]], run_id: str, experiment_id: str, run: dict[str, Any], client: Any
) -> None:
    """Add the rows of the same run."""

    def at(milliseconds: int) -> float:
        return (milliseconds - FIRST) / 1000

    def number(text: str) -> float | None:
        try:
            return float(text)
        except ValueError:
            return None

    theirs = client.get_run(run_id)
    started = {"kind": "started", "experiment_id": experiment_id, "name": run["name"], "status": "RUNNING"}
    rows["run_events"].append({"run_id": run_id, **started, "actor": theirs.info.user_id, "event_at": at(run["start"])})
    if run["end"]:
        rows["run_events"].append(
            {"run_id": run_id, "kind": "ended", "status": run["status"], "event_at": at(run["end"])}
        )
    elif run["status"] != "RUNNING":
        rows["run_events"].append({"run_id": run_id, "kind": "heartbeat", "status": run["status"]})
    if run["deleted"]:
        rows["run_events"].append({"run_id": run_id, "kind": "deleted"})
    rows["metrics"] += [
        {"run_id": run_id, "key": key, "value": value, "step": step, "event_at": at(time)}
        for key, value, step, time in run["metrics"]
    ]
    rows["param_events"] += [
        {"run_id": run_id, "key": key, "value": value, "value_number": number(value)}
        for key, value in run["params"].items()
    ]
    # The tags that MLflow's client adds by itself are taken over.
    rows["tag_events"] += [{"run_id": run_id, "key": key, "value": value} for key, value in theirs.data.tags.items()]
    rows["input_events"] += [
        {"run_id": run_id, "name": name, "digest": digest, "context": context}
        for name, digest, context in run["datasets"]
    ]


def mlflow_frame(experiment_ids: list[str], **question: Any) -> pd.DataFrame:
    """MLflow's frame, with infinities as they were logged."""
    frame: pd.DataFrame = mlflow.search_runs(experiment_ids=experiment_ids, **question)
    largest = sys.float_info.max
    for column in frame.columns:
        if column.startswith("metrics."):
            frame[column] = frame[column].replace({largest: math.inf, -largest: -math.inf})
    return frame


def assert_same(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """Runs, columns, types and values are the same, in the same order."""
    assert ours["run_id"].tolist() == theirs["run_id"].tolist(), "the runs, in order"
    assert ours.columns[:6].tolist() == theirs.columns[:6].tolist()
    kinds = [c.partition(".")[0] for c in theirs.columns[6:]]
    assert [c.partition(".")[0] for c in ours.columns[6:]] == kinds, "metrics, then params, then tags"
    assert set(ours.columns) == set(theirs.columns)
    if len(theirs):
        for column in theirs.columns.drop(["artifact_uri", "end_time"]):
            assert str(ours[column].dtype) == str(theirs[column].dtype), column
            pd.testing.assert_series_equal(ours[column], theirs[column], rtol=0, atol=0)
        pd.testing.assert_series_equal(ours["end_time"], pd.to_datetime(theirs["end_time"], utc=True))
