"""Calls about runs: making, reading, changing, searching them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlwarehouse.access import acting, readable
from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import RunStatus, ViewType
from mlwarehouse.errors import FilterError, InvalidInputError, within_depth
from mlwarehouse.ingest.identity import new_run_id, new_run_name
from mlwarehouse.mlflow_api.checks import check_page_size, check_tag, check_time
from mlwarehouse.mlflow_api.live import Live
from mlwarehouse.mlflow_api.pages import next_page, read_offset
from mlwarehouse.mlflow_api.states import CLIENT_USER_TAG, RunState, states_of
from mlwarehouse.mlflow_api.store import VIEWS, MlflowStore
from mlwarehouse.query.pages import load_page
from mlwarehouse.query.paging import READ_STEPS, run_steps
from mlwarehouse.query.question import Question, Scope
from mlwarehouse.query.search import TOO_DEEP
from mlwarehouse.query.unknown import doubtful_keys, existing_series

MOST_FOUND = 50_000
"""Runs on a page."""

PAGE_SIZE = 1000
"""Runs on a page when nobody says how many."""

NAME_TAG = "mlflow.runName"
PARENT_TAG = "mlflow.parentRunId"
USER_TAG = "mlflow.user"

STATUSES: dict[str, RunStatus] = {
    **{str(status): status for status in RunStatus},
    **{
        str(number): status
        for number, status in enumerate(
            (RunStatus.RUNNING, RunStatus.SCHEDULED, RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED), start=1
        )
    },
}
"""By name, and by the number that protocol buffers give it."""

ATTRIBUTES = (
    "run_id",
    "experiment_id",
    "run_name",
    "user_id",
    "status",
    "start_time",
    "end_time",
    "lifecycle_stage",
    "attempt",
)
"""What a search is asked for."""

COLUMNS = {"start_time": "started_at", "end_time": "ended_at"}
"""Those that the view `runs` has under other names."""


def create_run(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Begin a run."""
    experiment = store.active_experiment(asked["experiment_id"])
    tags = dict(check_tag(tag, f"tags[{n}].") for n, tag in enumerate(asked["tags"]))
    given, tagged = asked["run_name"], tags.get(NAME_TAG)
    if given and tagged and given != tagged:
        raise InvalidInputError(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values "
            f"(run_name='{given}', mlflow.runName='{tagged}')."
        )
    name = given or tagged or new_run_name()
    tags.setdefault(NAME_TAG, name)
    user_id = asked["user_id"] or tags.get(USER_TAG)
    if acting() is not None and user_id:
        # Who began the run is who asks; what their client calls them stays what it said.
        tags[CLIENT_USER_TAG] = user_id
    start = check_time("start_time", asked["start_time"] or int(time.time() * 1000))
    state = RunState(
        run_id=new_run_id(),
        experiment_id=experiment.experiment_id,
        name=name,
        user_id=user_id,
        status=str(RunStatus.RUNNING),
        lifecycle_stage="active",
        start_time=start,
        tags=tags,
    )
    shared = {
        "run_id": state.run_id,
        "attempt": 0,
        "actor": state.user_id if acting() is None else store.recorder.actor,
    }
    started = {"name": name, "status": state.status, "parent_run_id": tags.get(PARENT_TAG), "kind": "started"}
    store.recorder.put_event("run_events", {**shared, "experiment_id": state.experiment_id, **started}, time_ms=start)
    store.recorder.put("tag_events", shared, ["key", "value"], [[k, v] for k, v in tags.items()])
    store.runs.add(state)
    store.recorder.make_durable()
    return {"run": state.told(store.artifact_root(state.experiment_id))}


def get_run(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """One run with its latest metrics, its params, tags and inputs."""
    with store.runs.reading(asked["run_id"]) as state:
        root = store.artifact_root(state.experiment_id)
        return {"run": state.told(root)}


def update_run(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Change a run's status, end and name."""
    end = None if asked["end_time"] is None else check_time("end_time", asked["end_time"])
    # As with MLflow, a status that nobody knows says nothing.
    status = STATUSES.get(asked["status"] or "")
    with store.runs.writing(asked["run_id"]) as live:
        _turn(store, live, status, end)
        if asked["run_name"]:
            set_tags(store, live, {NAME_TAG: check_tag({"key": NAME_TAG, "value": asked["run_name"]})[1]})
        info = live.state.info(store.artifact_root(live.state.experiment_id))
    store.recorder.make_durable()
    return {"run_info": info}


def delete_run(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Delete a run; it can be restored."""
    return _switch(store, asked["run_id"], "deleted", "deleted")


def restore_run(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Restore a deleted run."""
    return _switch(store, asked["run_id"], "active", "restored")


def search_runs(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """A page of runs."""
    size = check_page_size(PAGE_SIZE if asked["max_results"] is None else asked["max_results"], MOST_FOUND)
    offset = read_offset(asked["page_token"])
    view = VIEWS.get(asked["run_view_type"] or "", ViewType.ACTIVE_ONLY)
    scope = Scope(experiment_ids=tuple(readable(asked["experiment_ids"])), view_type=view)
    # One more than the page holds says whether there is another.
    question = Question(
        scope,
        filter_string=asked["filter"] or "",
        order_by=tuple(asked["order_by"]),
        limit=size + 1,
        offset=offset,
        attributes=ATTRIBUTES,
    )
    found = store.ask(lambda engine, reading: _find(engine, reading, question)) if scope.experiment_ids else []
    page = [state.told(store.artifact_root(state.experiment_id)) for state in found[:size]]
    return {**({"runs": page} if page else {}), **(next_page(offset + size) if len(found) > size else {})}


def set_tags(store: MlflowStore, live: Live, tags: Mapping[str, str]) -> None:
    """Write tags of a run, whose name is one of them."""
    if not tags:
        return
    state = live.state
    store.runs.join(live)
    shared = {"run_id": state.run_id, "attempt": state.attempt, "actor": store.recorder.actor}
    name = tags.get(NAME_TAG)
    if name and name != state.name:
        store.recorder.put_event("run_events", {**shared, "kind": "renamed", "name": name})
        state.name = name
    store.recorder.put("tag_events", shared, ["key", "value"], [[k, v] for k, v in tags.items()])
    state.tags.update(tags)


@within_depth(FilterError, TOO_DEEP)
def _find(engine: Engine, reading: Reading, question: Question) -> list[RunState]:
    reading = engine.with_kept(reading)
    question = run_steps(question, READ_STEPS)
    known = existing_series(engine, reading, question.scope, doubtful_keys(question))
    page = load_page(engine, reading, replace(question, known_series=known), ())
    columns = ["number", *question.attributes]
    rows = page.table.select(columns).rename_columns([COLUMNS.get(c, c) for c in columns])
    return states_of(engine, reading, rows)


def _turn(store: MlflowStore, live: Live, status: RunStatus | None, end: int | None) -> None:
    """Write that a run ends, or goes on after it had ended."""
    state = live.state
    if status is None and end is None:
        return
    store.runs.join(live)
    told = status or RunStatus(state.status)
    shared = {"run_id": state.run_id, "actor": store.recorder.actor, "status": str(told)}
    if told in (RunStatus.RUNNING, RunStatus.SCHEDULED):
        if told != state.status:
            store.runs.begin_attempt(live)
            store.recorder.put_event("run_events", {**shared, "attempt": state.attempt, "kind": "resumed"})
            state.end_time = None
    else:
        state.end_time = int(time.time() * 1000) if end is None else end
        event = {**shared, "attempt": state.attempt, "kind": "ended"}
        store.recorder.put_event("run_events", event, time_ms=state.end_time)
    state.status = str(told)


def _switch(store: MlflowStore, run_id: str, stage: str, kind: str) -> dict[str, Any]:
    with store.runs.writing(run_id, also_deleted=True, is_exact=True) as live:
        state = live.state
        if state.lifecycle_stage != stage:
            shared = {"run_id": run_id, "attempt": state.attempt, "actor": store.recorder.actor}
            store.recorder.put_event("run_events", {**shared, "kind": kind})
            state.lifecycle_stage = stage
    store.recorder.make_durable()
    return {}
