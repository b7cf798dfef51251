"""All calls of MLflow's REST API that are answered: a new one is one entry here, and its function.

A path is given without what stands before it: clients write it behind ``/api/2.0/mlflow/``, the web page behind
``/ajax-api/2.0/mlflow/``, and clients of earlier releases with ``preview`` in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from mlwarehouse.mlflow_api import artifacts, entries, experiments, history, runs
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
        path: Its path, such as ``runs/create``.
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
    Call("POST", "runs/log-inputs", entries.log_inputs, "write", (RUN_ID, _list("datasets", *INPUT))),
    Call(
        "GET",
        "artifacts/list",
        artifacts.list_artifacts,
        "read",
        (RUN_ID, _text("path"), _text("page_token")),
    ),
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

_BY_PLACE = {(call.method, call.path): call for call in CALLS}


def find_call(method: str, path: str) -> Call | None:
    """The call of a method and path; None where there is none."""
    return _BY_PLACE.get((method, path))
