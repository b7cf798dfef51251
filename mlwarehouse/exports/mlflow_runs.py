"""One run, brought to a server of MLflow's: what is lacking there is sent."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from mlwarehouse.artifacts import ArtifactStore
from mlwarehouse.errors import DigestMismatchError, NotFoundError
from mlwarehouse.exports.sending import Sent
from mlwarehouse.imports.mlflow_files import ServerFiles
from mlwarehouse.imports.rest_client import RestClient, number

RUN, MARK = "mlwarehouse.run_id", "mlwarehouse.exported"
"""Tags of a run there: its id here; and the state in which it was sent, set when all was."""

PARAMS_A_CALL, TAGS_A_CALL, POINTS_A_CALL, INPUTS_A_CALL = 100, 100, 1000, 100
POINTS_A_PAGE = 25_000

MAX_PARAM, MAX_TAG = 6000, 8000
"""Longer values are cut by servers of MLflow's, without a word."""

Point = tuple[str, int, int, float | None]
"""A point's metric, time in milliseconds, step and value; NaN, which equals nothing, is None."""


@dataclass
class There:
    """A run on the server.

    Attributes:
        run_id: Its id there.
        address: Where its artifacts are.
        is_new: Whether it was made by this export.
        info: What else is known of it.
        params: Its params.
        tags: Its tags.
        metrics: The metrics that it has.
    """

    run_id: str
    address: str
    is_new: bool = True
    info: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[str] = ()


@dataclass(frozen=True)
class Here:
    """A run of the warehouse, with all that it has.

    Attributes:
        info: A row of the view `runs`, times in milliseconds.
        mark: The state that it is in.
        params: Its params.
        tags: Its tags, with the ids of runs that they have there.
        points: ``key``, ``step``, ``value``, ``context``, and ``at`` in milliseconds.
        inputs: Rows of the view `inputs`.
        files: Paths, with digests and sizes.
    """

    info: Mapping[str, Any]
    mark: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: pa.Table
    inputs: Sequence[Mapping[str, Any]]
    files: Mapping[str, tuple[str, int]]


class RunSender:
    """Sends runs; threads may share it."""

    def __init__(self, client: RestClient, store: ArtifactStore, sent: Sent) -> None:
        """Send to a server.

        Args:
            client: The server.
            store: The warehouse's artifacts.
            sent: Gets what was sent.
        """
        self._client, self._store, self._sent = client, store, sent

    def send(self, here: Here, there: There) -> None:
        """Send what a run lacks there.

        Raises:
            Refused: The server fails, or doesn't let us.
            StorageError: It doesn't answer.
        """
        run_id = str(here.info["run_id"])
        if there.info.get("lifecycle_stage") == "deleted":
            # What is deleted takes nothing.
            self._client.post("mlflow/runs/restore", run_id=there.run_id, again=True)
        self._params(here, there, run_id)
        self._points(here, there, run_id)
        self._inputs(here, there, run_id)
        self._tags(here, there, run_id)
        self._files(here, there, run_id)
        info = here.info
        status, end = str(info["status"]), info["end_time"]
        if (status, end) != (there.info.get("status", "RUNNING"), there.info.get("end_time")):
            self._client.post(
                "mlflow/runs/update",
                run_id=there.run_id,
                status=status,
                end_time=end,
                run_name=info["run_name"],
                again=True,
            )
        mark = {"key": MARK, "value": here.mark}
        self._client.post("mlflow/runs/set-tag", run_id=there.run_id, **mark, again=True)
        if info["lifecycle_stage"] == "deleted":
            self._client.post("mlflow/runs/delete", run_id=there.run_id, again=True)
        self._sent.count("runs")

    def _params(self, here: Here, there: There, run_id: str) -> None:
        lacking = [{"key": k, "value": v} for k, v in here.params.items() if k not in there.params]
        for param in lacking:
            self._tell_cut(run_id, "param", param, MAX_PARAM)
        self._batches("params", lacking, PARAMS_A_CALL, there, run_id)

    def _tags(self, here: Here, there: There, run_id: str) -> None:
        lacking = [{"key": k, "value": v} for k, v in here.tags.items() if there.tags.get(k) != v[:MAX_TAG]]
        for tag in lacking:
            self._tell_cut(run_id, "tag", tag, MAX_TAG)
        self._batches("tags", lacking, TAGS_A_CALL, there, run_id)

    def _tell_cut(self, run_id: str, what: str, given: Mapping[str, str], most: int) -> None:
        if len(given["value"]) > most:
            detail = f"MLflow keeps {most:,} of its {len(given['value']):,} characters"
            self._sent.tell(f"{what} cut", f"run {run_id}, {given['key']}", detail)

    def _points(self, here: Here, there: There, run_id: str) -> None:
        found: dict[Point, None] = {}
        columns = (here.points.column(name).to_pylist() for name in ("key", "at", "step", "value"))
        for key, at, step, value in zip(*columns, strict=True):
            found[key, at, step, None if math.isnan(value) else value] = None
        n_alike = here.points.num_rows - len(found)
        if n_alike:
            detail = f"{n_alike:,} points are as others are, to the millisecond, and MLflow keeps no two of them"
            self._sent.tell("points alike", f"run {run_id}", detail)
        if here.points.column("context").null_count < here.points.num_rows:
            self._sent.tell("contexts left out", f"run {run_id}", "MLflow has none; their points are sent without")
        known: Counter[Point] = Counter()
        for key in there.metrics:
            known.update(self._history(there.run_id, key))
        lacking = [
            {"key": key, "timestamp": at, "step": step, "value": math.nan if value is None else value}
            for key, at, step, value in found
            if (key, at, step, value) not in known
        ]
        self._batches("points", lacking, POINTS_A_CALL, there, run_id, field_="metrics")

    def _history(self, run_id: str, key: str) -> list[Point]:
        pages = self._client.pages(
            "mlflow/metrics/get-history",
            "metrics",
            is_get=True,
            run_id=run_id,
            metric_key=key,
            max_results=POINTS_A_PAGE,
        )
        found = []
        for page in pages:
            for point in page:
                value = number(point.get("value", 0.0))
                told_apart = None if math.isnan(value) else value
                found.append((key, int(point.get("timestamp", 0)), int(point.get("step", 0)), told_apart))
        return found

    def _batches(
        self,
        name: str,
        items: Sequence[Mapping[str, Any]],
        most: int,
        there: There,
        run_id: str,
        field_: str | None = None,
    ) -> None:
        def send(some: Sequence[Mapping[str, Any]]) -> None:
            body: dict[str, Any] = {"run_id": there.run_id, field_ or name: list(some)}
            self._client.post("mlflow/runs/log-batch", again=True, **body)

        self._sent.each(
            name,
            items,
            most,
            send,
            lambda item: f"run {run_id}, {item['key']}",
        )

    def _inputs(self, here: Here, there: There, run_id: str) -> None:
        names = ("name", "digest", "source_type", "source", "schema", "profile")
        found = [
            {
                "tags": [{"key": "mlflow.data.context", "value": each["context"]}] if each["context"] else [],
                "dataset": {"source_type": "unknown", "source": ""}
                | {name: each[name] for name in names if each[name] is not None},
            }
            for each in here.inputs
        ]
        # The server itself takes each once.
        self._sent.each(
            "inputs",
            found if there.is_new else [],
            INPUTS_A_CALL,
            lambda some: self._client.post(
                "mlflow/runs/log-inputs", again=True, run_id=there.run_id, datasets=list(some)
            ),
            lambda item: f"run {run_id}, {item['dataset']}",
        )

    def _files(self, here: Here, there: There, run_id: str) -> None:
        if not here.files:
            return
        parts = urlsplit(there.address)
        if parts.scheme != "mlflow-artifacts":
            detail = f"the server doesn't take them: they belong to {there.address}"
            self._sent.tell("artifacts not taken", f"run {run_id}", detail)
            return
        sizes: dict[str, int] = {}
        if not there.is_new:
            columns: dict[str, list[Any]] = {name: [] for name in ("run_id", "path", "file", "size", "changed_at")}
            ServerFiles(self._client, self._sent.oddities).add(columns, there.run_id, there.address, 0)
            sizes = dict(zip(columns["path"], columns["size"], strict=True))
        root = unquote(parts.path).strip("/")
        lacking = [(path, digest, size) for path, (digest, size) in here.files.items() if sizes.get(path) != size]
        self._sent.each(
            "artifacts",
            lacking,
            1,
            lambda some: self._file(root, *some[0], run_id),
            lambda item: f"run {run_id}, {item[0]}",
        )

    def _file(self, root: str, path: str, digest: str, size: int, run_id: str) -> None:
        try:
            self._store.verify(digest)
        except (NotFoundError, DigestMismatchError) as error:
            self._sent.tell("artifact unreadable", f"run {run_id}, {path}", str(error))
            self._sent.count("artifacts", -1)
            return
        self._client.send(f"mlflow-artifacts/artifacts/{root}/{path}", lambda: self._store.open(digest), size)
