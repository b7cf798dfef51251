"""An export to a server of MLflow's: experiments, then runs, then what runs have, then models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.artifacts import ArtifactStore
from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.errors import NotFoundError, StorageError, did_you_mean
from mlwarehouse.exports.mlflow_models import ModelSender
from mlwarehouse.exports.mlflow_runs import MARK, RUN, Here, RunSender, There
from mlwarehouse.exports.report import COUNTED, ExportReport
from mlwarehouse.exports.sending import Sent
from mlwarehouse.imports.rest_client import FOR_NOW, Refused, RestClient

if TYPE_CHECKING:
    from mlwarehouse.entities import ModelVersion
    from mlwarehouse.registry import Registry

CALLS = 8
"""Runs that are sent at once."""

BATCH_POINTS = 500_000
"""Points that are in memory at once, or those of one run if they are more."""

BATCH_RUNS = 500
RUNS_A_PAGE = 1000
PARENT = "mlflow.parentRunId"

_STATES = """
    SELECT run_id, SUM(n) AS n, MAX(last_at) AS last_at, SUM(n_points) AS n_points
    FROM ({0})
    GROUP BY run_id"""
_STATE = """
    SELECT run_id, COUNT(*) AS n, MAX(EPOCH_US(recorded_at)) AS last_at, {1} AS n_points
    FROM {0} GROUP BY run_id"""
_OF_RUNS = ("run_events", "param_events", "tag_events", "input_events", "artifact_events")
STATES = _STATES.format(
    " UNION ALL ".join([*(_STATE.format(name, "0") for name in _OF_RUNS), _STATE.format("metrics", "COUNT(*)")])
)
"""Of each run how many rows it has and when the last one was recorded: where that is as it was, nothing is new."""

RUNS = """
    SELECT
        run_id, experiment_id, run_name, user_id, status, lifecycle_stage, parent_run_id,
        EPOCH_MS(started_at) AS start_time, EPOCH_MS(ended_at) AS end_time
    FROM runs
    ORDER BY started_at, run_id"""

_IN = "run_id IN (SELECT UNNEST($run_ids))"


def export_to(
    client: RestClient,
    *,
    engine: Engine,
    reading: Reading,
    store: ArtifactStore,
    registry: Registry,
    warehouse_id: str,
    experiment_names: Sequence[str] | None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> ExportReport:
    """Send what a server lacks.

    Args:
        client: The server.
        engine: The warehouse's engine.
        reading: The state that is sent.
        store: Its artifacts.
        registry: Its registry, of that state.
        warehouse_id: Its id.
        experiment_names: Experiments whose runs are sent, without models; None sends everything.
        on_progress: Told ``runs``, and how many of how many are done.

    Returns:
        What was sent.

    Raises:
        NotFoundError: There is no such experiment.
        StorageError: The server doesn't answer, or fails, or doesn't let us; what was sent by then stays, and the same
            export again goes on there.
    """
    sent = Sent()
    export = _Export(client, engine, reading, sent)
    try:
        experiments = export.experiments(experiment_names)
        runs = export.runs(experiments)
        export.contents(runs, RunSender(client, store, sent), on_progress)
        export.delete(experiments)
        if experiment_names is None:
            models = ModelSender(client, warehouse_id, {i: there for i, (_, there) in runs.items()}, sent)
            versions: dict[str, list[ModelVersion]] = {}
            for version in registry.search_model_versions():
                versions.setdefault(version.name, []).append(version)
            for model in registry.search_registered_models():
                models.send(model, versions.get(model.name, ()))
    except Refused as error:
        raise StorageError(f"`{client.place}` refuses: {error}. Export again to go on.") from error
    finally:
        client.close()
    return ExportReport(client.place, {name: sent.added[name] for name in COUNTED}, sent.oddities)


@dataclass(frozen=True)
class _Experiment:
    """An experiment, its id there, and whether it is deleted here and there."""

    experiment_id: str
    there: str
    is_deleted: bool
    was_deleted: bool


class _Export:
    def __init__(self, client: RestClient, engine: Engine, reading: Reading, sent: Sent) -> None:
        self._client, self._engine, self._reading, self._sent = client, engine, reading, sent
        self._revived: set[str] = set()

    def _ask(self, sql: str, **parameters: Any) -> pa.Table:
        return self._engine.query(sql, reading=self._reading, parameters=parameters)

    def experiments(self, wanted: Sequence[str] | None) -> list[_Experiment]:
        """Make those that aren't there."""
        pages = self._client.pages("mlflow/experiments/search", "experiments", max_results=1000, view_type="ALL")
        there = {str(each["name"]): each for page in pages for each in page}
        ours = self._ask("SELECT experiment_id, name, lifecycle_stage FROM experiments ORDER BY created_at").to_pylist()
        missing = sorted(set(wanted or ()) - {row["name"] for row in ours})
        if missing:
            close = did_you_mean(missing[0], [row["name"] for row in ours])
            raise NotFoundError(f"There is no experiment `{missing[0]}`.{close}")
        tags: dict[str, dict[str, str]] = {}
        for row in self._ask("SELECT experiment_id, key, value FROM experiment_tags").to_pylist():
            tags.setdefault(row["experiment_id"], {})[row["key"]] = row["value"]
        found = []
        for row in ours:
            name, is_deleted = row["name"], row["lifecycle_stage"] == "deleted"
            if wanted is not None and name not in wanted:
                continue
            known = there.get(name)
            was_deleted = known is not None and known.get("lifecycle_stage") == "deleted"
            if was_deleted and not is_deleted:
                detail = "it was deleted there; it and its runs were left out"
                self._sent.tell("experiment deleted there", name, detail)
                continue
            if known is None:
                known = self._client.post("mlflow/experiments/create", name=name)
                self._sent.count("experiments")
            experiment = _Experiment(row["experiment_id"], str(known["experiment_id"]), is_deleted, was_deleted)
            found.append(experiment)
            self._tags(experiment, name, tags.get(row["experiment_id"], {}), known)
        return found

    def _tags(self, experiment: _Experiment, name: str, tags: Mapping[str, str], there: Mapping[str, Any]) -> None:
        known = {t["key"]: t.get("value", "") for t in there.get("tags") or ()}
        lacking = [(key, value) for key, value in tags.items() if known.get(key) != value]
        if not lacking:
            return
        self._revive(experiment)
        self._sent.each(
            "tags",
            lacking,
            1,
            lambda some: self._client.post(
                "mlflow/experiments/set-experiment-tag",
                experiment_id=experiment.there,
                key=some[0][0],
                value=some[0][1],
                again=True,
            ),
            lambda tag: f"experiment {name}, {tag[0]}",
        )

    def _revive(self, experiment: _Experiment) -> None:
        if experiment.was_deleted and experiment.there not in self._revived:
            # What is deleted takes nothing; it is deleted again in the end.
            self._client.post("mlflow/experiments/restore", experiment_id=experiment.there, again=True)
            self._revived.add(experiment.there)

    def delete(self, experiments: Sequence[_Experiment]) -> None:
        """Delete there those that are deleted here."""
        for experiment in experiments:
            if experiment.is_deleted and (not experiment.was_deleted or experiment.there in self._revived):
                self._client.post("mlflow/experiments/delete", experiment_id=experiment.there, again=True)

    def runs(self, experiments: Sequence[_Experiment]) -> dict[str, tuple[dict[str, Any], There]]:
        """Make the runs that aren't there; returns all, by their ids here."""
        by_id = {e.experiment_id: e for e in experiments}
        ours = [row for row in self._ask(RUNS).to_pylist() if row["experiment_id"] in by_id]
        there: dict[str, There] = {}
        for experiment in experiments:
            there |= self._runs_there(experiment)
        lacking = [row for row in ours if row["run_id"] not in there]
        for experiment_id in {row["experiment_id"] for row in lacking}:
            self._revive(by_id[experiment_id])
        with ThreadPoolExecutor(CALLS, thread_name_prefix="mlwarehouse-export") as pool:
            made = pool.map(lambda row: self._make(row, by_id[row["experiment_id"]]), lacking)
            there |= {row["run_id"]: new for row, new in zip(lacking, made, strict=True) if new is not None}
        return {row["run_id"]: (row, there[row["run_id"]]) for row in ours if row["run_id"] in there}

    def _runs_there(self, experiment: _Experiment) -> dict[str, There]:
        pages = self._client.pages(
            "mlflow/runs/search",
            "runs",
            experiment_ids=[experiment.there],
            run_view_type="ALL",
            max_results=RUNS_A_PAGE,
        )
        found = {}
        for page in pages:
            for run in page:
                info, data = run["info"], run.get("data") or {}
                tags = {t["key"]: t.get("value", "") for t in data.get("tags") or ()}
                if RUN in tags:
                    found[tags[RUN]] = There(
                        str(info["run_id"]),
                        str(info["artifact_uri"]),
                        is_new=False,
                        info=info,
                        params={p["key"]: p.get("value", "") for p in data.get("params") or ()},
                        tags=tags,
                        metrics=[str(m["key"]) for m in data.get("metrics") or ()],
                    )
        return found

    def _make(self, row: Mapping[str, Any], experiment: _Experiment) -> There | None:
        try:
            made = self._client.post(
                "mlflow/runs/create",
                experiment_id=experiment.there,
                start_time=row["start_time"],
                run_name=row["run_name"],
                user_id=row["user_id"],
                tags=[{"key": RUN, "value": row["run_id"]}],
            )
        except Refused as error:
            if error.status in FOR_NOW or error.status in (401, 403):
                raise
            self._sent.tell("run refused", f"run {row['run_id']}", str(error))
            return None
        info = made["run"]["info"]
        return There(str(info["run_id"]), str(info["artifact_uri"]), info=info)

    def contents(
        self,
        runs: Mapping[str, tuple[dict[str, Any], There]],
        sender: RunSender,
        on_progress: Callable[[str, int, int], None] | None,
    ) -> None:
        """Send what runs have, of those that aren't as they were."""
        states = {row["run_id"]: row for row in self._ask(STATES).to_pylist()}
        marks = {i: f"{states[i]['n']} rows until {states[i]['last_at']}" for i in runs}
        changed = [i for i, (_, there) in runs.items() if there.tags.get(MARK) != marks[i]]
        n_done = len(runs) - len(changed)
        with ThreadPoolExecutor(CALLS, thread_name_prefix="mlwarehouse-export") as pool:
            for some in _batches(changed, {i: states[i]["n_points"] for i in changed}):
                here = self._here(some, runs, marks)
                list(pool.map(lambda one: sender.send(one, runs[one.info["run_id"]][1]), here))
                n_done += len(some)
                if on_progress is not None:
                    on_progress("runs", n_done, len(runs))

    def _here(
        self, some: Sequence[str], runs: Mapping[str, tuple[dict[str, Any], There]], marks: Mapping[str, str]
    ) -> Iterator[Here]:
        params, tags, inputs, files = (
            _by_run(self._ask(f"SELECT * FROM {view} WHERE {_IN}", run_ids=list(some)))
            for view in ("params", "tags", "inputs", "artifacts")
        )
        points = self._ask(
            f"SELECT run_id, key, step, value, context, EPOCH_MS(event_at) AS at FROM metrics WHERE {_IN}",
            run_ids=list(some),
        )
        for run_id in some:
            row, _ = runs[run_id]
            own = {t["key"]: t["value"] for t in tags.get(run_id, ())} | {RUN: run_id}
            if row["parent_run_id"] in runs:
                own[PARENT] = runs[row["parent_run_id"]][1].run_id
            # The server has this tag from the run's name.
            own.pop("mlflow.runName", None)
            yield Here(
                info=row,
                mark=marks[run_id],
                params={p["key"]: p["value"] for p in params.get(run_id, ())},
                tags=own,
                points=points.filter(pc.equal(points.column("run_id"), run_id)),
                inputs=inputs.get(run_id, ()),
                files={f["path"]: (f["digest"], f["size_bytes"]) for f in files.get(run_id, ())},
            )


def _by_run(rows: pa.Table) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        found.setdefault(row["run_id"], []).append(row)
    return found


def _batches(run_ids: Sequence[str], n_points: Mapping[str, int]) -> Iterator[list[str]]:
    some: list[str] = []
    total = 0
    for run_id in run_ids:
        if some and (len(some) == BATCH_RUNS or total + n_points[run_id] > BATCH_POINTS):
            yield some
            some, total = [], 0
        some.append(run_id)
        total += n_points[run_id]
    if some:
        yield some
