"""Calls about logged models: what a client logs before it registers, with files, params and tags of its own."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mlwarehouse.access import readable
from mlwarehouse.errors import FilterError, InvalidInputError, NotFoundError, within_depth
from mlwarehouse.ingest.identity import new_run_name
from mlwarehouse.mlflow_api.checks import check_experiment_tag, check_key, check_page_size, check_run_id
from mlwarehouse.mlflow_api.pages import cut_page, read_offset
from mlwarehouse.mlflow_api.states import milliseconds
from mlwarehouse.mlflow_api.store import MlflowStore
from mlwarehouse.query.matching import Attribute, arranged, matching
from mlwarehouse.query.references import References
from mlwarehouse.query.scoping import run_condition
from mlwarehouse.query.search import TOO_DEEP

TABLE = "logged_model_events"

PAGE_SIZE = 100
MOST_FOUND = 50_000
"""Models on a page: when nobody says how many, and the most."""

STATUSES = {
    "LOGGED_MODEL_PENDING": "PENDING",
    "LOGGED_MODEL_READY": "READY",
    "LOGGED_MODEL_UPLOAD_FAILED": "UPLOAD_FAILED",
    "1": "PENDING",
    "2": "READY",
    "3": "UPLOAD_FAILED",
}
"""By the name, or the number, that protocol buffers give them."""

ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("name", "text"),
    Attribute("model_id", "text"),
    Attribute("model_type", "text"),
    Attribute("status", "text"),
    Attribute("source_run_id", "text"),
    Attribute("creation_timestamp", "number"),
    Attribute("creation_time", "number"),
    Attribute("last_updated_timestamp", "number"),
    Attribute("params", "texts"),
)
"""What models are searched by, beside their tags."""

_NAME = re.compile(r"[^/:.%\"']+")


@dataclass
class LoggedModel:
    """One logged model; see the table `logged_model_events`."""

    model_id: str
    experiment_id: str = ""
    source_run_id: str | None = None
    name: str = ""
    model_type: str | None = None
    status: str = "PENDING"
    created: int = 0
    updated: int = 0
    is_deleted: bool = False
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """What stands as the run of its files."""
        return self.source_run_id or self.model_id

    @property
    def folder(self) -> str:
        """Where its files are among that run's artifacts."""
        return f"models/{self.model_id}"


def create_model(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Begin a model; its files follow."""
    name = asked["name"] or new_run_name()
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"Invalid model name: '{name}'. Model name cannot contain '/', ':', '.', '%', '\"' or \"'\"."
        )
    experiment = store.active_experiment(asked["experiment_id"])
    run_id = check_run_id(asked["source_run_id"]) if asked["source_run_id"] else None
    tags = [check_experiment_tag(tag) for tag in asked["tags"]]
    params = [(check_key(p["key"], "key"), p["value"] or "") for p in asked["params"]]
    model = LoggedModel(f"m-{secrets.token_hex(16)}", experiment.experiment_id, run_id)
    first = {"kind": "created", "name": name, "model_type": asked["model_type"], "status": "PENDING"}
    _put(store, model, [first, *_said("tag_set", tags), *_said("param_set", params)], experiment.experiment_id)
    return {"model": _told(store, need_model(store, model.model_id))}


def get_model(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """One model by its id."""
    return {"model": _told(store, need_model(store, asked["model_id"], also_deleted=bool(asked["allow_deleted"])))}


def finish_model(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Say what became of a model's files."""
    status = STATUSES.get(asked["status"] or "")
    if status is None:
        raise InvalidInputError(
            f"`{asked['status']}` isn't the status of a logged model; there are {list(STATUSES)[:3]}."
        )
    model = need_model(store, asked["model_id"])
    _put(store, model, [{"kind": "status_set", "status": status}])
    return {"model": _told(store, need_model(store, model.model_id))}


def delete_model(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Delete a model; its history stays."""
    _put(store, need_model(store, asked["model_id"]), [{"kind": "deleted"}])
    return {}


def log_model_params(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Set params of a model."""
    params = [(check_key(p["key"], "key"), p["value"] or "") for p in asked["params"]]
    _put(store, need_model(store, asked["model_id"]), _said("param_set", params))
    return {}


def set_model_tags(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Set tags of a model."""
    tags = dict(check_experiment_tag(tag) for tag in asked["tags"])
    _put(store, need_model(store, asked["model_id"]), _said("tag_set", list(tags.items())))
    return {"model": _told(store, need_model(store, asked["model_id"]))}


def delete_model_tag(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Remove a tag of a model."""
    model, key = need_model(store, asked["model_id"]), asked["tag_key"]
    if key not in model.tags:
        raise NotFoundError(f"No tag with key {key!r} found for model with ID {model.model_id!r}.")
    _put(store, model, _said("tag_set", [(key, None)]))
    return {}


@within_depth(FilterError, TOO_DEEP)
def search_models(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """A page of models of some experiments."""
    size = check_page_size(PAGE_SIZE if asked["max_results"] is None else asked["max_results"], MOST_FOUND)
    offset = read_offset(asked["page_token"])
    found = [m for m in _models_of(store, readable(asked["experiment_ids"])) if not m.is_deleted]
    chosen = matching([(_asked_of(m), m.tags, m) for m in found], asked["filter"] or "", ATTRIBUTES)
    order = [f"{o['field_name']} {'DESC' if o['ascending'] is False else 'ASC'}" for o in asked["order_by"]]
    in_order = arranged(chosen, [*order, "creation_timestamp DESC", "model_id ASC"], ATTRIBUTES)
    page, token = cut_page(in_order, offset, size)
    told = [_told(store, model) for _, _, model in page]
    return {**({"models": told} if told else {}), **token}


def log_outputs(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Record that a run made models."""
    _link(store, asked["run_id"], "produced", asked["models"])
    return {}


def link_inputs(store: MlflowStore, run_id: str, models: Sequence[dict[str, Any]]) -> None:
    """Record that a run uses models."""
    _link(store, run_id, "used", models)


def find_model(store: MlflowStore, model_id: str) -> LoggedModel | None:
    """The model of an id, deleted ones included."""
    references = References()
    found = _fold(store, f"model_id = {references.mark(model_id)}", references)
    return found[0] if found else None


def need_model(store: MlflowStore, model_id: str, *, also_deleted: bool = False) -> LoggedModel:
    """The model of an id.

    Raises:
        NotFoundError: There is none.
    """
    found = find_model(store, model_id)
    if found is None or (found.is_deleted and not also_deleted):
        raise NotFoundError(f"Logged model with ID '{model_id}' not found.")
    return found


def artifact_uri(store: MlflowStore, model: LoggedModel) -> str:
    """Where clients find a model's files."""
    return f"{store.artifact_root(model.experiment_id)}/models/{model.model_id}/artifacts"


def _models_of(store: MlflowStore, experiment_ids: Sequence[str]) -> list[LoggedModel]:
    if not experiment_ids:
        return []
    references = References()
    of = run_condition(list(experiment_ids), references, column="experiment_id")
    return _fold(store, f"model_id IN (SELECT model_id FROM {TABLE} WHERE kind = 'created' AND {of})", references)


def _fold(store: MlflowStore, where: str, references: References) -> list[LoggedModel]:
    rows = store.query(
        f"SELECT model_id, kind, experiment_id, run_id, name, model_type, status, key, value, event_at FROM {TABLE} "
        f"WHERE kind NOT IN ('produced', 'used') AND {where} ORDER BY recorded_at, writer_id, writer_seq",
        references.parameters,
    )
    models: dict[str, LoggedModel] = {}
    for row, at in zip(rows.drop_columns(["event_at"]).to_pylist(), milliseconds(rows.column("event_at")), strict=True):
        model = models.setdefault(row["model_id"], LoggedModel(row["model_id"]))
        _take(model, row, at or 0)
    return [model for model in models.values() if model.created]


def _take(model: LoggedModel, row: dict[str, Any], at: int) -> None:
    kind, model.updated = row["kind"], max(at, model.updated)
    if kind == "created":
        model.experiment_id, model.source_run_id, model.created = row["experiment_id"], row["run_id"], at
        model.name, model.model_type, model.status = row["name"], row["model_type"], row["status"]
    elif kind == "status_set":
        model.status = row["status"]
    elif kind == "deleted":
        model.is_deleted = True
    elif kind == "param_set":
        model.params.setdefault(row["key"], row["value"])
    elif row["value"] is None:
        model.tags.pop(row["key"], None)
    else:
        model.tags[row["key"]] = row["value"]


def _said(kind: str, pairs: Sequence[tuple[str, str | None]]) -> list[dict[str, Any]]:
    return [{"kind": kind, "key": key, "value": value} for key, value in pairs]


def _put(
    store: MlflowStore, model: LoggedModel, events: Sequence[dict[str, Any]], experiment_id: str | None = None
) -> None:
    columns = ("kind", "name", "model_type", "status", "key", "value", "step")
    shared = {"model_id": model.model_id, "run_id": model.source_run_id, "actor": store.recorder.actor}
    if experiment_id is not None:
        shared["experiment_id"] = experiment_id
    if events:
        store.recorder.put(TABLE, shared, columns, [[event.get(c) for c in columns] for event in events])
    store.recorder.make_durable()


def _link(store: MlflowStore, run_id: str, kind: str, models: Sequence[dict[str, Any]]) -> None:
    with store.runs.writing(check_run_id(run_id)) as live:
        known = live.state.outputs if kind == "produced" else live.state.model_inputs
        for given in models:
            entry = {"model_id": given["model_id"], **({"step": given["step"] or 0} if kind == "produced" else {})}
            if entry not in known:
                shared = {"model_id": given["model_id"], "run_id": run_id, "actor": store.recorder.actor, "kind": kind}
                store.recorder.put(TABLE, shared, ["step"], [[entry.get("step")]])
                known.append(entry)
    store.recorder.make_durable()


def _asked_of(model: LoggedModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "model_id": model.model_id,
        "model_type": model.model_type,
        "status": model.status,
        "source_run_id": model.source_run_id,
        "creation_timestamp": model.created,
        "creation_time": model.created,
        "last_updated_timestamp": model.updated,
        "params": model.params,
    }


def _told(store: MlflowStore, model: LoggedModel) -> dict[str, Any]:
    tags = [{"key": key, "value": value} for key, value in sorted(model.tags.items())]
    params = [{"key": key, "value": value} for key, value in sorted(model.params.items())]
    info = {
        "model_id": model.model_id,
        "experiment_id": model.experiment_id,
        "name": model.name,
        "creation_timestamp_ms": model.created,
        "last_updated_timestamp_ms": model.updated,
        "artifact_uri": artifact_uri(store, model),
        "status": f"LOGGED_MODEL_{model.status}",
        "model_type": model.model_type or None,
        "source_run_id": model.source_run_id,
        "tags": tags or None,
    }
    return {
        "info": {name: value for name, value in info.items() if value is not None},
        "data": {"params": params} if params else {},
    }
