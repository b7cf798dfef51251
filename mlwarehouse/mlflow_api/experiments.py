"""Calls about experiments."""

from __future__ import annotations

from typing import Any

from mlwarehouse.access import acting
from mlwarehouse.entities import Experiment, ViewType
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError
from mlwarehouse.ingest.identity import experiment_id_of
from mlwarehouse.mlflow_api.checks import (
    LOCATION_LENGTH,
    check_experiment_name,
    check_experiment_tag,
    check_length,
    check_page_size,
    is_store_address,
)
from mlwarehouse.mlflow_api.pages import cut_page, read_offset
from mlwarehouse.mlflow_api.store import LOCATION_TAG, VIEWS, MlflowStore
from mlwarehouse.query.experiments import list_experiments
from mlwarehouse.query.matching import Attribute, arranged, matching

MOST_LISTED = 50_000
"""Experiments on a page."""

RUNS_AT_ONCE = 5000
"""Runs that one record deletes or restores."""

ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("name", "text"),
    Attribute("experiment_id", "text"),
    Attribute("creation_time", "number"),
    Attribute("last_update_time", "number"),
    Attribute("lifecycle_stage", "text"),
)
"""What experiments are searched by, beside their tags."""


def create_experiment(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Make an experiment; names are given once, those of deleted ones included."""
    name = check_experiment_name(asked["name"])
    location = check_length("artifact_location", asked["artifact_location"], LOCATION_LENGTH).rstrip("/")
    if location and not is_store_address(location):
        raise InvalidInputError(
            f"The artifact location `{location[:80]}` isn't one that clients on other machines can reach; give an "
            "address such as s3://bucket/folder, or none to keep artifacts in the warehouse."
        )
    tags = [check_experiment_tag(tag) for tag in asked["tags"]]
    with store.changing_experiments:
        _refuse_taken(store, name)
        tries = 0
        # An experiment that was renamed keeps the id that its first name gave it.
        while store.find_experiment(experiment_id_of(name, tries)) is not None:
            tries += 1
        experiment_id = experiment_id_of(name, tries)
        store.put_experiment(experiment_id, name)
        for key, value in [*tags, *([(LOCATION_TAG, location)] if location else [])]:
            store.put_change(experiment_id, "tag_set", key=key, value=value)
    store.recorder.make_durable()
    return {"experiment_id": experiment_id}


def get_experiment(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """One experiment by its id."""
    return {"experiment": _told(store, store.experiment(asked["experiment_id"]))}


def get_experiment_by_name(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """One experiment by its name."""
    found = store.experiment_named(asked["experiment_name"])
    if found is None:
        raise NotFoundError(f"Could not find experiment with name '{asked['experiment_name']}'")
    return {"experiment": _told(store, found)}


def search_experiments(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """A page of experiments."""
    size = check_page_size(asked["max_results"], MOST_LISTED)
    offset = read_offset(asked["page_token"])
    view = VIEWS.get(asked["view_type"] or "", ViewType.ACTIVE_ONLY)
    who = acting()
    there = store.ask(lambda engine, reading: list_experiments(engine, reading, view_type=view))
    found = [e for e in there if who is None or who.may_read_experiment(e.experiment_id)]
    entries = [({a.name: getattr(e, a.name) for a in ATTRIBUTES}, _tags(e), e) for e in found]
    chosen = matching(entries, asked["filter"] or "", ATTRIBUTES)
    in_order = arranged(chosen, asked["order_by"] or ["creation_time DESC", "experiment_id ASC"], ATTRIBUTES)
    page, token = cut_page(in_order, offset, size)
    told = [_told(store, experiment) for _, _, experiment in page]
    return {**({"experiments": told} if told else {}), **token}


def update_experiment(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Rename an experiment."""
    with store.changing_experiments:
        found = store.experiment(asked["experiment_id"])
        if not asked["new_name"]:
            return {}
        name = check_experiment_name(asked["new_name"])
        if found.lifecycle_stage != "active":
            raise InvalidInputError("Cannot rename a non-active experiment.")
        if name != found.name:
            _refuse_taken(store, name)
            store.put_change(found.experiment_id, "renamed", name=name)
    store.recorder.make_durable()
    return {}


def delete_experiment(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Delete an experiment and its runs; both can be restored."""
    return _switch(store, asked["experiment_id"], "active", "deleted")


def restore_experiment(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Restore an experiment and all its runs."""
    return _switch(store, asked["experiment_id"], "deleted", "restored")


def set_experiment_tag(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Set a tag of an experiment."""
    key, value = check_experiment_tag(asked)
    _refuse_own(key)
    with store.changing_experiments:
        found = store.active_experiment(asked["experiment_id"])
        store.put_change(found.experiment_id, "tag_set", key=key, value=value)
    store.recorder.make_durable()
    return {}


def delete_experiment_tag(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Remove a tag of an experiment."""
    key = asked["key"]
    _refuse_own(key)
    with store.changing_experiments:
        found = store.active_experiment(asked["experiment_id"])
        if key not in found.tags:
            raise NotFoundError(f"No tag with name: {key} in experiment with id {found.experiment_id}")
        store.put_change(found.experiment_id, "tag_set", key=key, value=None)
    store.recorder.make_durable()
    return {}


def _switch(store: MlflowStore, experiment_id: str, before: str, kind: str) -> dict[str, Any]:
    with store.changing_experiments:
        found = store.experiment(experiment_id)
        if found.lifecycle_stage != before:
            raise NotFoundError(f"No Experiment with id={int(found.experiment_id)} exists")
        store.put_change(found.experiment_id, kind)
        rows = store.query(
            "SELECT run_id, attempt FROM runs WHERE experiment_id = $experiment_id AND lifecycle_stage = $stage",
            {"experiment_id": found.experiment_id, "stage": before},
        ).to_pylist()
        for first in range(0, len(rows), RUNS_AT_ONCE):
            store.recorder.put(
                "run_events",
                {"kind": kind, "actor": store.recorder.actor},
                ["run_id", "attempt"],
                [[row["run_id"], row["attempt"]] for row in rows[first : first + RUNS_AT_ONCE]],
            )
        store.runs.read_all_anew()
    store.recorder.make_durable()
    return {}


def _refuse_taken(store: MlflowStore, name: str) -> None:
    taken = store.experiment_named(name)
    if taken is not None:
        hint = "" if taken.lifecycle_stage == "active" else " It is deleted: restore it, or choose another name."
        raise ConflictError(f"Experiment(name={name}) already exists.{hint}")


def _refuse_own(key: str) -> None:
    if key == LOCATION_TAG:
        raise InvalidInputError(f"The tag `{LOCATION_TAG}` is the server's own; an artifact location can't be changed.")


def _tags(experiment: Experiment) -> dict[str, str]:
    return {key: value for key, value in experiment.tags.items() if key != LOCATION_TAG}


def _told(store: MlflowStore, experiment: Experiment) -> dict[str, Any]:
    tags = [{"key": key, "value": value} for key, value in sorted(_tags(experiment).items())]
    return {
        "experiment_id": experiment.experiment_id,
        "name": experiment.name,
        "artifact_location": store.artifact_root(experiment.experiment_id),
        "lifecycle_stage": experiment.lifecycle_stage,
        "last_update_time": experiment.last_update_time,
        "creation_time": experiment.creation_time,
        **({"tags": tags} if tags else {}),
    }
