"""Calls that log to a run: metrics, params, tags, inputs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mlwarehouse.errors import InvalidInputError, NotFoundError, ParamConflictError
from mlwarehouse.ingest.values import param_number
from mlwarehouse.mlflow_api.checks import (
    MOST_DATASETS,
    check_batch,
    check_length,
    check_metric,
    check_param,
    check_run_id,
    check_tag,
)
from mlwarehouse.mlflow_api.live import Live
from mlwarehouse.mlflow_api.logged import link_inputs
from mlwarehouse.mlflow_api.runs import set_tags
from mlwarehouse.mlflow_api.states import CONTEXT_TAG, input_of
from mlwarehouse.mlflow_api.store import MlflowStore

HISTORY_TAG = "mlflow.log-model.history"

Point = tuple[str, float, int, int]
"""Key, value, timestamp in milliseconds, step."""

DATASET_LENGTHS = {"name": 500, "digest": 36, "source": 65_535, "schema": 1_048_575, "profile": 16_777_215}
"""The longest that MLflow takes of a dataset."""


def log_metric(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Log one point of a metric."""
    point = check_metric(asked)
    with store.runs.writing(asked["run_id"]) as live:
        _put_points(store, live, [point])
    store.recorder.make_durable()
    return {}


def log_param(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Set a param, once; the same value again is fine."""
    key, value = check_param(asked)
    with store.runs.writing(asked["run_id"], is_exact=True) as live:
        old = live.state.params.get(key, value)
        if old != value:
            raise ParamConflictError(
                f"Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' "
                f"for run ID='{asked['run_id']}'. Attempted logging new value '{value}'."
            )
        _put_params(store, live, {key: value})
    store.recorder.make_durable()
    return {}


def set_tag(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Set a tag; the last value counts."""
    key, value = check_tag(asked)
    with store.runs.writing(asked["run_id"]) as live:
        set_tags(store, live, {key: value})
    store.recorder.make_durable()
    return {}


def delete_tag(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Remove a tag."""
    key = asked["key"]
    with store.runs.writing(asked["run_id"]) as live:
        state = live.state
        if key not in state.tags:
            raise NotFoundError(f"No tag with name: {key} in run with id {state.run_id}")
        store.runs.join(live)
        shared = {"run_id": state.run_id, "attempt": state.attempt, "actor": store.recorder.actor}
        store.recorder.put("tag_events", shared, ["key", "value"], [[key, None]])
        del state.tags[key]
    store.recorder.make_durable()
    return {}


def log_batch(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Log metrics, params and tags; all are checked before any is written."""
    run_id = check_run_id(asked["run_id"])
    points = [check_metric(m, f"metrics[{n}].") for n, m in enumerate(asked["metrics"])]
    params = [check_param(p, f"params[{n}].") for n, p in enumerate(asked["params"])]
    tags = [check_tag(t, f"tags[{n}].") for n, t in enumerate(asked["tags"])]
    check_batch(points, params, tags)
    with store.runs.writing(run_id, is_exact=bool(params)) as live:
        known = live.state.params
        conflicts = [
            {"key": key, "old_value": known[key], "new_value": value}
            for key, value in params
            if known.get(key, value) != value
        ]
        if conflicts:
            raise ParamConflictError(
                f"Changing param values is not allowed. Params were already logged='{conflicts}' for run ID='{run_id}'."
            )
        _put_params(store, live, dict(params))
        _put_points(store, live, points)
        set_tags(store, live, dict(tags))
    store.recorder.make_durable()
    return {}


def log_inputs(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Record datasets and models that a run uses."""
    run_id = check_run_id(asked["run_id"])
    if len(asked["datasets"]) > MOST_DATASETS:
        raise InvalidInputError(
            f"At most {MOST_DATASETS} datasets can be logged at once; got {len(asked['datasets'])}."
        )
    rows = [_dataset_row(given, n) for n, given in enumerate(asked["datasets"])]
    with store.runs.writing(run_id) as live:
        fresh = [row for row in rows if live.state.note_input(input_of(row))]
        if fresh:
            store.runs.join(live)
            store.recorder.put("input_events", {"run_id": run_id}, list(fresh[0]), [list(r.values()) for r in fresh])
    if asked["models"]:
        link_inputs(store, run_id, asked["models"])
    store.recorder.make_durable()
    return {}


def log_model(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Add a model to the tag in which MLflow's clients before 3.0 keep what was logged."""
    try:
        model = json.loads(asked["model_json"])
    except (ValueError, RecursionError):
        model = None
    if not isinstance(model, dict):
        raise InvalidInputError(f"Malformed model info. {asked['model_json'][:80]!r} is not a JSON object.")
    missing = [name for name in ("artifact_path", "flavors", "utc_time_created", "run_id") if name not in model]
    if missing:
        raise InvalidInputError(f"Model json is missing mandatory fields: {missing}")
    with store.runs.writing(asked["run_id"]) as live:
        told = json.loads(live.state.tags.get(HISTORY_TAG, "[]"))
        set_tags(store, live, {HISTORY_TAG: json.dumps([*told, model])})
    store.recorder.make_durable()
    return {}


def _dataset_row(given: dict[str, Any], n: int) -> dict[str, Any]:
    dataset = given["dataset"] or {}
    names = ("name", "digest", "source_type", "source", "schema", "profile")
    row: dict[str, Any] = {name: dataset.get(name) for name in names}
    for name in ("name", "digest", "source_type", "source"):
        if not row[name]:
            raise InvalidInputError(f"Missing value for required parameter 'datasets[{n}].dataset.{name}'.")
    for name, limit in DATASET_LENGTHS.items():
        check_length(f"datasets[{n}].dataset.{name}", row[name], limit)
    contexts = [tag["value"] for tag in given["tags"] if tag["key"] == CONTEXT_TAG]
    return {**row, "context": contexts[-1] if contexts else None}


def _put_params(store: MlflowStore, live: Live, params: dict[str, str]) -> None:
    state = live.state
    fresh = {key: value for key, value in params.items() if key not in state.params}
    if fresh:
        store.runs.join(live)
        rows = [[key, value, param_number(value)] for key, value in fresh.items()]
        shared = {"run_id": state.run_id, "attempt": state.attempt}
        store.recorder.put("param_events", shared, ["key", "value", "value_number"], rows)
        state.params.update(fresh)


def _put_points(store: MlflowStore, live: Live, points: Sequence[Point]) -> None:
    if not points:
        return
    state, writer = live.state, store.recorder.writer
    store.runs.join(live)
    run = (state.run_id, state.attempt)
    for key, value, timestamp, step in points:
        writer.put_point(live.series, key, run, step, value, timestamp * 1000)
        state.note_point(key, value, timestamp, step)
