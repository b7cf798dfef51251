"""A running server of MLflow's, or one of ours, by MLflow's REST API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pyarrow as pa

from mlwarehouse.errors import InvalidInputError, StorageError
from mlwarehouse.imports.base import (
    INPUT_COLUMNS,
    LOGGED_MODEL,
    POINT_COLUMNS,
    Batch,
    Oddity,
    SourceExperiment,
    SourceKind,
    rows,
)
from mlwarehouse.imports.collected import Collected
from mlwarehouse.imports.mlflow_files import ServerFiles
from mlwarehouse.imports.mlflow_places import LoggedModel, at, distinct_paths, located
from mlwarehouse.imports.rest_client import Refused, RestClient, number
from mlwarehouse.registry.importing import SourceModel, SourceVersion

CALLS = 8
"""Calls that are made at once."""

RUNS_A_PAGE = 100

POINTS_A_PAGE = 25_000
"""As MLflow's own client asks."""

BATCH_POINTS = 500_000
"""A batch ends with the run that brings it to more points."""


@dataclass
class MlflowServer:
    """A server. See `Source`.

    Attributes:
        wants_files: Whether artifacts are listed, which takes a call a folder.
    """

    place: str
    client: RestClient
    kind: str = "mlflow-server"
    source_id: str = ""
    unit: str = "experiments"
    total: int = 0
    oddities: list[Oddity] = field(default_factory=list)
    wants_files: bool = True

    def __post_init__(self) -> None:
        """Ask for the experiments."""
        self._files = ServerFiles(self.client, self.oddities)
        self._logged: dict[str | None, list[LoggedModel]] = {}
        self._experiments = [
            each
            for page in self.client.pages("mlflow/experiments/search", "experiments", max_results=1000, view_type="ALL")
            for each in page
        ]
        self.total = len(self._experiments)

    def experiments(self) -> Sequence[SourceExperiment]:
        """See `Source.experiments`."""
        described = self._logged_models()
        found = [
            SourceExperiment(
                key=str(each["experiment_id"]),
                experiment_id=str(each["experiment_id"]),
                name=str(each["name"]),
                is_deleted=each.get("lifecycle_stage") == "deleted",
                created_at=at(_whole(each.get("creation_time"))),
                tags=_pairs(each.get("tags")) | described.get(str(each["experiment_id"]), {}),
            )
            for each in self._experiments
        ]
        return sorted(found, key=lambda e: e.is_deleted)

    def batches(self) -> Iterator[Batch]:
        """See `Source.batches`."""
        with ThreadPoolExecutor(CALLS, thread_name_prefix="mlwarehouse-import") as pool:
            for experiment in self._experiments:
                pages = self.client.pages(
                    "mlflow/runs/search",
                    "runs",
                    experiment_ids=[str(experiment["experiment_id"])],
                    run_view_type="ALL",
                    max_results=RUNS_A_PAGE,
                )
                for page in pages:
                    for batch in self._batches(page, pool):
                        yield batch
                        # Files were fetched by threads that are gone.
                        self.client.close()
                yield Collected().batch(1)

    def models(self) -> Sequence[SourceModel]:
        """See `Source.models`."""
        paths = {m.model_id: f"runs:/{m.run_id}/{m.path}" for models in self._logged.values() for m in models}
        versions: dict[str, list[SourceVersion]] = {}
        try:
            for page in self.client.pages(
                "mlflow/model-versions/search", "model_versions", is_get=True, max_results=1000
            ):
                for row in page:
                    versions.setdefault(str(row["name"]), []).append(_version(row, paths))
            found = self.client.pages(
                "mlflow/registered-models/search", "registered_models", is_get=True, max_results=1000
            )
            return [_model(row, versions.get(str(row["name"]), [])) for page in found for row in page]
        except Refused as error:
            self.oddities.append(Oddity("models unreadable", self.place, str(error)))
            return ()
        finally:
            self.client.close()

    def _batches(self, page: Sequence[Mapping[str, Any]], pool: ThreadPoolExecutor) -> Iterator[Batch]:
        batch, points, inputs, n_points = Collected(), [rows(POINT_COLUMNS)], _no_inputs(), 0
        for run in page:
            info = run["info"]
            run_id = str(info.get("run_id") or info["run_uuid"])
            keys = [str(metric["key"]) for metric in (run.get("data") or {}).get("metrics") or ()]
            self._run(run, run_id, batch, inputs)
            for found in pool.map(lambda key, run_id=run_id: self._history(run_id, key), keys):
                points += found
                n_points += sum(table.num_rows for table in found)
            if n_points > BATCH_POINTS:
                yield self._batch(batch, points, inputs)
                batch, points, inputs, n_points = Collected(), [rows(POINT_COLUMNS)], _no_inputs(), 0
        yield self._batch(batch, points, inputs)

    def _batch(self, batch: Collected, points: list[pa.Table], inputs: Mapping[str, list[Any]]) -> Batch:
        return replace(
            batch.batch(0),
            points=pa.concat_tables(points),
            inputs=rows(INPUT_COLUMNS, inputs),
            # A history comes in the order of its times.
            are_distinct=True,
            fetch=self._files.fetch,
        )

    def _run(self, run: Mapping[str, Any], run_id: str, batch: Collected, inputs: Mapping[str, list[Any]]) -> None:
        info, data = run["info"], run.get("data") or {}
        tags = _pairs(data.get("tags"))
        start, end = at(_whole(info.get("start_time"))), at(_whole(info.get("end_time")))
        began = start if start is not None else end or 0
        if start is None:
            self.oddities.append(Oddity("run without a start", run_id, "it begins with its end, or in 1970"))
        batch.run(
            run_id,
            str(info["experiment_id"]),
            name=str(info.get("run_name") or tags.get("mlflow.runName") or "") or None,
            user=str(info.get("user_id") or "") or None,
            status=str(info.get("status") or "RUNNING"),
            started_at=began,
            ended_at=end,
            deleted_at=(end or began) if info.get("lifecycle_stage") == "deleted" else None,
            parent_run_id=tags.get("mlflow.parentRunId") or None,
        )
        batch.params(run_id, _pairs(data.get("params")))
        batch.tags(run_id, tags)
        for each in (run.get("inputs") or {}).get("dataset_inputs") or ():
            context = _pairs(each.get("tags")).get("mlflow.data.context")
            dataset = each["dataset"]
            wanted = ("source_type", "source", "schema", "profile")
            values = (run_id, dataset["name"], dataset["digest"], context, *(dataset.get(name) for name in wanted))
            for column, value in zip(inputs.values(), values, strict=True):
                column.append(value)
        if self.wants_files:
            self._files.add(batch.files, run_id, str(info.get("artifact_uri") or ""), began)
            for model in self._logged.get(run_id, ()):
                self._files.add(batch.files, run_id, model.folder, began, f"{model.path}/")

    def _history(self, run_id: str, key: str) -> list[pa.Table]:
        """All points of a metric, in parts."""
        found = []
        asked = {"run_id": run_id, "metric_key": key, "max_results": POINTS_A_PAGE}
        try:
            for page in self.client.pages("mlflow/metrics/get-history", "metrics", is_get=True, **asked):
                n = len(page)
                found.append(
                    pa.table(
                        {
                            "run_id": pa.repeat(run_id, n),
                            "key": pa.repeat(key, n),
                            "step": pa.array([_whole(p.get("step")) or 0 for p in page], pa.int64()),
                            "value": pa.array([number(p.get("value", 0.0)) for p in page], pa.float64()),
                            "event_at": pa.array([at(_whole(p.get("timestamp"))) or 0 for p in page], pa.int64()),
                        }
                    )
                )
        except (Refused, ValueError, OverflowError) as error:
            self.oddities.append(Oddity("history unreadable", f"run {run_id}, {key}", str(error)))
        return found

    def _logged_models(self) -> dict[str, dict[str, str]]:
        """Ask for the models that runs have logged; returns their descriptions by experiment."""
        found = []
        try:
            for each in self._experiments:
                pages = self.client.pages(
                    "mlflow/logged-models/search", "models", experiment_ids=[str(each["experiment_id"])], max_results=50
                )
                found += [model for page in pages for model in page]
        except Refused:
            # Servers before release 3 have none.
            return {}
        self._logged.clear()
        described: dict[str, dict[str, str]] = {}
        for model in distinct_paths([_logged_model(row) for row in found]):
            self._logged.setdefault(model.run_id, []).append(model)
            of = described.setdefault(str(model.meta.get("experiment_id")), {})
            of[f"{LOGGED_MODEL}{model.model_id}"] = model.described()
        return described


def _no_inputs() -> dict[str, list[Any]]:
    return {name: [] for name in INPUT_COLUMNS}


def _pairs(given: Any) -> dict[str, str]:
    return {str(each["key"]): str(each.get("value", "")) for each in given or ()}


def _whole(given: Any) -> int | None:
    return None if given is None else int(given)


def _logged_model(row: Mapping[str, Any]) -> LoggedModel:
    info, data = dict(row["info"]), row.get("data") or {}
    tags = _pairs(info.pop("tags", None))
    run_id = str(info.get("source_run_id") or "") or None
    address = str(info.get("artifact_uri") or "")
    return LoggedModel(str(info["model_id"]), run_id, address, "", info, _pairs(data.get("params")), tags)


def _version(row: Mapping[str, Any], paths: Mapping[str, str]) -> SourceVersion:
    run_id, stage = str(row.get("run_id") or "") or None, str(row.get("current_stage") or "None")
    return SourceVersion(
        number=int(row["version"]),
        created_at=at(_whole(row.get("creation_timestamp"))) or 0,
        updated_at=at(_whole(row.get("last_updated_timestamp"))),
        source=located(str(row.get("source") or ""), run_id, paths),
        run_id=run_id,
        user=str(row.get("user_id") or "") or None,
        description=str(row.get("description") or "") or None,
        stage=None if stage == "None" else stage,
        tags=_pairs(row.get("tags")),
    )


def _model(row: Mapping[str, Any], versions: Sequence[SourceVersion]) -> SourceModel:
    return SourceModel(
        name=str(row["name"]),
        created_at=at(_whole(row.get("creation_timestamp"))) or 0,
        updated_at=at(_whole(row.get("last_updated_timestamp"))),
        description=str(row.get("description") or "") or None,
        tags=_pairs(row.get("tags")),
        aliases={str(a["alias"]): int(a["version"]) for a in cast(list[dict[str, Any]], row.get("aliases") or [])},
        versions=sorted(versions, key=lambda v: v.number),
    )


def _claims(place: str) -> bool:
    return re.match(r"https?://", place) is not None


def _open(place: str) -> MlflowServer:
    client = RestClient(place)
    try:
        return MlflowServer(client.place, client)
    except (Refused, StorageError) as error:
        raise InvalidInputError(f"`{client.place}` doesn't answer as a server of MLflow's does: {error}") from error


MLFLOW_SERVER = SourceKind("mlflow-server", "a running server of MLflow's, http://…", claims=_claims, open=_open)
