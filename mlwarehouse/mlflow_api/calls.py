"""All calls of MLflow's REST API that are answered: a new one is one entry here, and its function.

A path is given without what stands before it: clients write it behind ``/api/2.0/mlflow/``, the web page behind
``/ajax-api/2.0/mlflow/``, and clients of earlier releases with ``preview`` in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlwarehouse.access import LISTED, Need, On, Role
from mlwarehouse.mlflow_api import artifacts, datasets, entries, experiments, history, logged, registry, runs
from mlwarehouse.mlflow_api.messages import Field, read_request
from mlwarehouse.mlflow_api.store import MlflowStore

Handler = Callable[[MlflowStore, dict[str, Any]], dict[str, Any]]
"""Answers a request, read by the call's fields, with the body of the response."""


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        method: ``GET``, ``POST``, …
        path: Its path, such as ``runs/create``; what stands in braces is a field of the request.
        handle: Who answers.
        needs: What its user needs: all of it. A field that names nothing needs nothing.
        fields: What a request may say.
    """

    method: str
    path: str
    handle: Handler
    needs: tuple[Need, ...]
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
        return self.handle(store, self.read(body))

    def read(self, body: Any) -> dict[str, Any]:
        """Read a request.

        Args:
            body: The decoded JSON, or the arguments of the address.

        Returns:
            Values by the names of `fields`.

        Raises:
            InvalidInputError: It isn't one.
        """
        return read_request(body, self.fields)


def _on(on: On, field: str) -> Callable[[Role], tuple[Need, ...]]:
    return lambda role: (Need(role, on, field),)


def of_runs(field: str) -> tuple[Need, ...]:
    """What it takes to read the points of runs."""
    return (Need("reader", "runs", field),)


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
of_experiment = _on("experiment", "experiment_id")
of_run = _on("run", "run_id")
of_logged = _on("logged_model", "model_id")
of_model = _on("model", "name")
SEARCH = (_text("filter"), _text("order_by", many=True), _text("page_token"))

CALLS: tuple[Call, ...] = (
    Call(
        "POST",
        "experiments/create",
        experiments.create_experiment,
        (Need("writer"),),
        (_text("name", required=True), _text("artifact_location"), _list("tags", *PAIR)),
    ),
    Call("GET", "experiments/get", experiments.get_experiment, of_experiment("reader"), (EXPERIMENT_ID,)),
    Call(
        "GET",
        "experiments/get-by-name",
        experiments.get_experiment_by_name,
        (Need("reader", "experiment_name", "experiment_name"),),
        (_text("experiment_name", required=True),),
    ),
    *(
        Call(
            method,
            "experiments/search",
            experiments.search_experiments,
            LISTED,
            (_int("max_results"), Field("view_type", "word"), *SEARCH),
        )
        for method in ("POST", "GET")
    ),
    Call(
        "POST",
        "experiments/update",
        experiments.update_experiment,
        of_experiment("writer"),
        (EXPERIMENT_ID, _text("new_name", required=True)),
    ),
    Call("POST", "experiments/delete", experiments.delete_experiment, of_experiment("writer"), (EXPERIMENT_ID,)),
    Call("POST", "experiments/restore", experiments.restore_experiment, of_experiment("writer"), (EXPERIMENT_ID,)),
    Call(
        "POST",
        "experiments/set-experiment-tag",
        experiments.set_experiment_tag,
        of_experiment("writer"),
        (EXPERIMENT_ID, *TAG),
    ),
    Call(
        "POST",
        "experiments/delete-experiment-tag",
        experiments.delete_experiment_tag,
        of_experiment("writer"),
        (EXPERIMENT_ID, KEY),
    ),
    Call(
        "POST",
        "experiments/search-datasets",
        datasets.search_datasets,
        LISTED,
        (_text("experiment_ids", many=True),),
    ),
    Call(
        "POST",
        "runs/create",
        runs.create_run,
        of_experiment("writer"),
        (
            _text("experiment_id"),
            _text("user_id"),
            _int("start_time"),
            _text("run_name"),
            _list("tags", *PAIR),
        ),
    ),
    Call("GET", "runs/get", runs.get_run, of_run("reader"), (RUN_ID,)),
    Call(
        "POST",
        "runs/update",
        runs.update_run,
        of_run("writer"),
        (RUN_ID, Field("status", "word"), _int("end_time"), _text("run_name")),
    ),
    Call("POST", "runs/delete", runs.delete_run, of_run("writer"), (RUN_ID,)),
    Call("POST", "runs/restore", runs.restore_run, of_run("writer"), (RUN_ID,)),
    Call(
        "POST",
        "runs/search",
        runs.search_runs,
        LISTED,
        (
            _text("experiment_ids", many=True),
            Field("run_view_type", "word"),
            _int("max_results", most=runs.MOST_FOUND),
            *SEARCH,
        ),
    ),
    Call("POST", "runs/log-metric", entries.log_metric, of_run("writer"), (RUN_ID, *POINT)),
    Call("POST", "runs/log-parameter", entries.log_param, of_run("writer"), (RUN_ID, *TAG)),
    Call("POST", "runs/set-tag", entries.set_tag, of_run("writer"), (RUN_ID, *TAG)),
    Call("POST", "runs/delete-tag", entries.delete_tag, of_run("writer"), (RUN_ID, KEY)),
    Call(
        "POST",
        "runs/log-batch",
        entries.log_batch,
        of_run("writer"),
        (RUN_ID, _list("metrics", *POINT), _list("params", *TAG), _list("tags", *TAG)),
    ),
    Call(
        "POST",
        "runs/log-inputs",
        entries.log_inputs,
        of_run("writer"),
        (RUN_ID, _list("datasets", *INPUT), _list("models", MODEL_ID)),
    ),
    Call(
        "POST", "runs/outputs", logged.log_outputs, of_run("writer"), (RUN_ID, _list("models", MODEL_ID, _int("step")))
    ),
    Call("POST", "runs/log-model", entries.log_model, of_run("writer"), (RUN_ID, _text("model_json", required=True))),
    Call(
        "GET",
        "artifacts/list",
        artifacts.list_artifacts,
        of_run("reader"),
        (RUN_ID, _text("path"), _text("page_token")),
    ),
    Call(
        "POST",
        "logged-models",
        logged.create_model,
        (*of_experiment("writer"), Need("writer", "run", "source_run_id")),
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
        LISTED,
        (
            _text("experiment_ids", many=True),
            _text("filter"),
            _int("max_results"),
            _list("order_by", _text("field_name", required=True), Field("ascending", "bool")),
            _text("page_token"),
        ),
    ),
    Call(
        "GET",
        "logged-models/{model_id}",
        logged.get_model,
        of_logged("reader"),
        (MODEL_ID, Field("allow_deleted", "bool")),
    ),
    Call(
        "PATCH",
        "logged-models/{model_id}",
        logged.finish_model,
        of_logged("writer"),
        (MODEL_ID, Field("status", "word")),
    ),
    Call("DELETE", "logged-models/{model_id}", logged.delete_model, of_logged("writer"), (MODEL_ID,)),
    Call(
        "POST",
        "logged-models/{model_id}/params",
        logged.log_model_params,
        of_logged("writer"),
        (MODEL_ID, _list("params", *PAIR)),
    ),
    Call(
        "PATCH",
        "logged-models/{model_id}/tags",
        logged.set_model_tags,
        of_logged("writer"),
        (MODEL_ID, _list("tags", *PAIR)),
    ),
    Call(
        "DELETE",
        "logged-models/{model_id}/tags/{tag_key}",
        logged.delete_model_tag,
        of_logged("writer"),
        (MODEL_ID, _text("tag_key", required=True)),
    ),
    Call(
        "GET",
        "logged-models/{model_id}/artifacts/directories",
        artifacts.list_model,
        of_logged("reader"),
        (MODEL_ID, _text("artifact_directory_path")),
    ),
    Call(
        "POST",
        "registered-models/create",
        registry.create_registered_model,
        of_model("writer"),
        (NAME, _text("description"), _list("tags", *PAIR)),
    ),
    Call("GET", "registered-models/get", registry.get_registered_model, of_model("reader"), (NAME,)),
    Call(
        "POST",
        "registered-models/rename",
        registry.rename_registered_model,
        (*of_model("approver"), Need("approver", "model", "new_name")),
        (NAME, _text("new_name")),
    ),
    Call(
        "PATCH",
        "registered-models/update",
        registry.update_registered_model,
        of_model("writer"),
        (NAME, _text("description")),
    ),
    Call("DELETE", "registered-models/delete", registry.delete_registered_model, of_model("approver"), (NAME,)),
    Call("GET", "registered-models/search", registry.search_registered_models, LISTED, (_int("max_results"), *SEARCH)),
    *(
        Call(
            method,
            "registered-models/get-latest-versions",
            registry.get_latest_versions,
            of_model("reader"),
            (NAME, _text("stages", many=True)),
        )
        for method in ("POST", "GET")
    ),
    Call("POST", "registered-models/set-tag", registry.set_model_tag, of_model("writer"), (NAME, *TAG)),
    Call("DELETE", "registered-models/delete-tag", registry.delete_model_tag, of_model("writer"), (NAME, KEY)),
    Call("POST", "registered-models/alias", registry.set_alias, of_model("approver"), (*VERSION, ALIAS)),
    Call("GET", "registered-models/alias", registry.get_by_alias, of_model("reader"), (NAME, ALIAS)),
    Call("DELETE", "registered-models/alias", registry.delete_alias, of_model("approver"), (NAME, ALIAS)),
    Call(
        "POST",
        "model-versions/create",
        registry.create_version,
        (
            *of_model("writer"),
            Need("reader", "source", "source"),
            Need("reader", "run", "run_id"),
            Need("reader", "logged_model", "model_id"),
        ),
        (
            NAME,
            _text("source", required=True),
            _text("run_id"),
            _text("model_id"),
            _text("description"),
            _list("tags", *PAIR),
        ),
    ),
    Call("GET", "model-versions/get", registry.get_version, of_model("reader"), VERSION),
    Call(
        "PATCH", "model-versions/update", registry.update_version, of_model("writer"), (*VERSION, _text("description"))
    ),
    Call("DELETE", "model-versions/delete", registry.delete_version, of_model("approver"), VERSION),
    Call(
        "POST",
        "model-versions/transition-stage",
        registry.move_version,
        of_model("approver"),
        (*VERSION, _text("stage", required=True), Field("archive_existing_versions", "bool")),
    ),
    Call("GET", "model-versions/search", registry.search_versions, LISTED, (_int("max_results"), *SEARCH)),
    Call("GET", "model-versions/get-download-uri", registry.get_download_uri, of_model("reader"), VERSION),
    Call("POST", "model-versions/set-tag", registry.set_version_tag, of_model("writer"), (*VERSION, *TAG)),
    Call("DELETE", "model-versions/delete-tag", registry.delete_version_tag, of_model("writer"), (*VERSION, KEY)),
    Call(
        "GET",
        "metrics/get-history",
        history.get_history,
        of_runs("run_id"),
        (RUN_ID, _text("metric_key", required=True), _int("max_results"), _text("page_token")),
    ),
    Call(
        "GET",
        "metrics/get-history-bulk",
        history.get_history_bulk,
        of_runs("run_ids"),
        (Field("run_ids", many=True, other="run_id"), _text("metric_key", required=True), _int("max_results")),
    ),
    Call(
        "GET",
        "metrics/get-history-bulk-interval",
        history.get_history_samples,
        of_runs("run_ids"),
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
