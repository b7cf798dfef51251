"""All calls of MLflow's REST API that are answered: a new one is one entry here, and its function.

A path is given without what stands before it: clients write it behind ``/api/2.0/mlflow/``, the web page behind
``/ajax-api/2.0/mlflow/``, and clients of earlier releases with ``preview`` in between.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from mlwarehouse.mlflow_api import artifacts, entries, experiments, history, logged, registry, runs
from mlwarehouse.mlflow_api.messages import Field, read_request
from mlwarehouse.mlflow_api.store import MlflowStore

Access = Literal["read", "write"]
"""What a call needs to be allowed."""

Handler = Callable[[MlflowStore, dict[str, Any]], dict[str, Any]]
"""Answers a request, read by the call's fields, with the body of the response."""


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        method: ``GET``, ``POST``, …
        path: Its path, such as ``runs/create``; what stands in braces is a field of the request.
        handle: Who answers.
        access: What it needs to be allowed.
        fields: What a request may say.
    """

    method: str
    path: str
    handle: Handler
    access: Access
    fields: tuple[Field, ...] = ()

    def __call__(self, store: MlflowStore, body: Any) -> dict[str, Any]:
        """Answer a request.

        Args:
            store: What it is asked of.
            body: The decoded JSON, or the arguments of the address.

        Returns:
            The body of the response.

        Raises:
            WarehouseError: It can't be answered; the error has MLflow's code.
        """
        return self.handle(store, read_request(body, self.fields))


def _text(name: str, *, required: bool = False, many: bool = False, other: str = "") -> Field:
    return Field(name, "text", required, many, other=other)


def _int(name: str, *, required: bool = False, most: int | None = None) -> Field:
    return Field(name, "int", required, most=most)


def _list(name: str, *of: Field) -> Field:
    return Field(name, "object", many=True, of=of)


EXPERIMENT_ID = _text("experiment_id", required=True)
RUN_ID = _text("run_id", required=True, other="run_uuid")
KEY = _text("key", required=True)
VALUE = _text("value")
TAG = (KEY, VALUE)
PAIR = (_text("key"), VALUE)
NAME = _text("name", required=True)
ALIAS = _text("alias", required=True)
VERSION = (NAME, _text("version", required=True))
MODEL_ID = _text("model_id", required=True)
POINT = (KEY, Field("value", "float", required=True), _int("timestamp", required=True), _int("step"))
DATASET = tuple(_text(name) for name in ("name", "digest", "source_type", "source", "schema", "profile"))
INPUT = (_list("tags", *PAIR), Field("dataset", "object", of=DATASET))
SEARCH = (_text("filter"), _text("order_by", many=True), _text("page_token"))

CALLS: tuple[Call, ...] = (
    Call(
        "POST",
        "experiments/create",
        experiments.create_experiment,
        "write",
        (_text("name", required=True), _text("artifact_location"), _list("tags", *PAIR)),
    ),
    Call("GET", "experiments/get", experiments.get_experiment, "read", (EXPERIMENT_ID,)),
    Call(
        "GET",
        "experiments/get-by-name",
        experiments.get_experiment_by_name,
        "read",
        (_text("experiment_name", required=True),),
    ),
    *(
        Call(
            method,
            "experiments/search",
            experiments.search_experiments,
            "read",
            (_int("max_results"), Field("view_type", "word"), *SEARCH),
        )
        for method in ("POST", "GET")
    ),
    Call(
        "POST",
        "experiments/update",
        experiments.update_experiment,
        "write",
        (EXPERIMENT_ID, _text("new_name", required=True)),
    ),
    Call("POST", "experiments/delete", experiments.delete_experiment, "write", (EXPERIMENT_ID,)),
    Call("POST", "experiments/restore", experiments.restore_experiment, "write", (EXPERIMENT_ID,)),
    Call("POST", "experiments/set-experiment-tag", experiments.set_experiment_tag, "write", (EXPERIMENT_ID, *TAG)),
    Call("POST", "experiments/delete-experiment-tag", experiments.delete_experiment_tag, "write", (EXPERIMENT_ID, KEY)),
    Call(
        "POST",
        "runs/create",
        runs.create_run,
        "write",
        (
            _text("experiment_id"),
            _text("user_id"),
            _int("start_time"),
            _text("run_name"),
            _list("tags", *PAIR),
        ),
    ),
    Call("GET", "runs/get", runs.get_run, "read", (RUN_ID,)),
    Call(
        "POST",
        "runs/update",
        runs.update_run,
        "write",
        (RUN_ID, Field("status", "word"), _int("end_time"), _text("run_name")),
    ),
    Call("POST", "runs/delete", runs.delete_run, "write", (RUN_ID,)),
    Call("POST", "runs/restore", runs.restore_run, "write", (RUN_ID,)),
    Call(
        "POST",
        "runs/search",
        runs.search_runs,
        "read",
        (
            _text("experiment_ids", many=True),
            Field("run_view_type", "word"),
            _int("max_results", most=runs.MOST_FOUND),
            *SEARCH,
        ),
    ),
    Call("POST", "runs/log-metric", entries.log_metric, "write", (RUN_ID, *POINT)),
    Call("POST", "runs/log-parameter", entries.log_param, "write", (RUN_ID, *TAG)),
    Call("POST", "runs/set-tag", entries.set_tag, "write", (RUN_ID, *TAG)),
    Call("POST", "runs/delete-tag", entries.delete_tag, "write", (RUN_ID, KEY)),
    Call(
        "POST",
        "runs/log-batch",
        entries.log_batch,
        "write",
        (RUN_ID, _list("metrics", *POINT), _list("params", *TAG), _list("tags", *TAG)),
    ),
    Call(
        "POST",
        "runs/log-inputs",
        entries.log_inputs,
        "write",
        (RUN_ID, _list("datasets", *INPUT), _list("models", MODEL_ID)),
    ),
    Call("POST", "runs/outputs", logged.log_outputs, "write", (RUN_ID, _list("models", MODEL_ID, _int("step")))),
    Call("POST", "runs/log-model", entries.log_model, "write", (RUN_ID, _text("model_json", required=True))),
    Call(
        "GET",
        "artifacts/list",
        artifacts.list_artifacts,
        "read",
        (RUN_ID, _text("path"), _text("page_token")),
    ),
    Call(
        "POST",
        "logged-models",
        logged.create_model,
        "write",
        (
            EXPERIMENT_ID,
            _text("name"),
            _text("model_type"),
            _text("source_run_id"),
            _list("params", *PAIR),
            _list("tags", *PAIR),
        ),
    ),
    Call(
        "POST",
        "logged-models/search",
        logged.search_models,
        "read",
        (
            _text("experiment_ids", many=True),
            _text("filter"),
            _int("max_results"),
            _list("order_by", _text("field_name", required=True), Field("ascending", "bool")),
            _text("page_token"),
        ),
    ),
    Call("GET", "logged-models/{model_id}", logged.get_model, "read", (MODEL_ID, Field("allow_deleted", "bool"))),
    Call("PATCH", "logged-models/{model_id}", logged.finish_model, "write", (MODEL_ID, Field("status", "word"))),
    Call("DELETE", "logged-models/{model_id}", logged.delete_model, "write", (MODEL_ID,)),
    Call(
        "POST", "logged-models/{model_id}/params", logged.log_model_params, "write", (MODEL_ID, _list("params", *PAIR))
    ),
    Call("PATCH", "logged-models/{model_id}/tags", logged.set_model_tags, "write", (MODEL_ID, _list("tags", *PAIR))),
    Call(
        "DELETE",
        "logged-models/{model_id}/tags/{tag_key}",
        logged.delete_model_tag,
        "write",
        (MODEL_ID, _text("tag_key", required=True)),
    ),
    Call(
        "GET",
        "logged-models/{model_id}/artifacts/directories",
        artifacts.list_model,
        "read",
        (MODEL_ID, _text("artifact_directory_path")),
    ),
    Call(
        "POST",
        "registered-models/create",
        registry.create_registered_model,
        "write",
        (NAME, _text("description"), _list("tags", *PAIR)),
    ),
    Call("GET", "registered-models/get", registry.get_registered_model, "read", (NAME,)),
    Call("POST", "registered-models/rename", registry.rename_registered_model, "write", (NAME, _text("new_name"))),
    Call("PATCH", "registered-models/update", registry.update_registered_model, "write", (NAME, _text("description"))),
    Call("DELETE", "registered-models/delete", registry.delete_registered_model, "write", (NAME,)),
    Call("GET", "registered-models/search", registry.search_registered_models, "read", (_int("max_results"), *SEARCH)),
    *(
        Call(
            method,
            "registered-models/get-latest-versions",
            registry.get_latest_versions,
            "read",
            (NAME, _text("stages", many=True)),
        )
        for method in ("POST", "GET")
    ),
    Call("POST", "registered-models/set-tag", registry.set_model_tag, "write", (NAME, *TAG)),
    Call("DELETE", "registered-models/delete-tag", registry.delete_model_tag, "write", (NAME, KEY)),
    Call("POST", "registered-models/alias", registry.set_alias, "write", (*VERSION, ALIAS)),
    Call("GET", "registered-models/alias", registry.get_by_alias, "read", (NAME, ALIAS)),
    Call("DELETE", "registered-models/alias", registry.delete_alias, "write", (NAME, ALIAS)),
    Call(
        "POST",
        "model-versions/create",
        registry.create_version,
        "write",
        (
            NAME,
            _text("source", required=True),
            _text("run_id"),
            _text("model_id"),
            _text("description"),
            _list("tags", *PAIR),
        ),
    ),
    Call("GET", "model-versions/get", registry.get_version, "read", VERSION),
    Call("PATCH", "model-versions/update", registry.update_version, "write", (*VERSION, _text("description"))),
    Call("DELETE", "model-versions/delete", registry.delete_version, "write", VERSION),
    Call(
        "POST",
        "model-versions/transition-stage",
        registry.move_version,
        "write",
        (*VERSION, _text("stage", required=True), Field("archive_existing_versions", "bool")),
    ),
    Call("GET", "model-versions/search", registry.search_versions, "read", (_int("max_results"), *SEARCH)),
    Call("GET", "model-versions/get-download-uri", registry.get_download_uri, "read", VERSION),
    Call("POST", "model-versions/set-tag", registry.set_version_tag, "write", (*VERSION, *TAG)),
    Call("DELETE", "model-versions/delete-tag", registry.delete_version_tag, "write", (*VERSION, KEY)),
    Call(
        "GET",
        "metrics/get-history",
        history.get_history,
        "read",
        (RUN_ID, _text("metric_key", required=True), _int("max_results"), _text("page_token")),
    ),
    Call(
        "GET",
        "metrics/get-history-bulk",
        history.get_history_bulk,
        "read",
        (Field("run_ids", many=True, other="run_id"), _text("metric_key", required=True), _int("max_results")),
    ),
    Call(
        "GET",
        "metrics/get-history-bulk-interval",
        history.get_history_samples,
        "read",
        (
            Field("run_ids", many=True),
            _text("metric_key", required=True),
            _int("start_step"),
            _int("end_step"),
            _int("max_results"),
        ),
    ),
)
"""All of them."""

_PREFIX = re.compile(r"/(?:ajax-)?api/[23]\.0/(?:preview/)?mlflow/(?P<path>.*)")
_BY_PLACE = {(call.method, call.path): call for call in CALLS}
_WITH_NAMES = tuple((re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", c.path)), c) for c in CALLS if "{" in c.path)


def call_path(address: str) -> str | None:
    """What stands behind MLflow's prefix in the path of an address; None where there is no such prefix."""
    match = _PREFIX.fullmatch(address)
    return match["path"] if match else None


def find_call(method: str, path: str) -> tuple[Call, dict[str, str]] | None:
    """The call of a method and path, with what its path says; None where there is none."""
    if (method, path) in _BY_PLACE:
        return _BY_PLACE[method, path], {}
    for pattern, call in _WITH_NAMES:
        match = pattern.fullmatch(path) if call.method == method else None
        if match:
            return call, match.groupdict()
    return None


def methods_of(path: str) -> list[str]:
    """The methods that a path is asked by."""
    return [method for method in ("GET", "POST", "PUT", "PATCH", "DELETE") if find_call(method, path)]
