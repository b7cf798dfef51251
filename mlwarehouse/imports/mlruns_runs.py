"""The runs of an `mlruns` folder: many small files a run, read into columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlwarehouse.imports.base import (
    FILE_COLUMNS,
    INPUT_COLUMNS,
    PARAM_COLUMNS,
    RUN_COLUMNS,
    Batch,
    Oddity,
    rows,
)
from mlwarehouse.imports.folders import add_files, files_below, read, subfolders, text
from mlwarehouse.imports.mlflow_places import LoggedModel, at
from mlwarehouse.imports.mlruns_points import read_points
from mlwarehouse.imports.yaml_file import MAX_BYTES, YamlError, load_mapping

BATCH_FILES = 40_000
"""A batch ends with the run that brings it to more files."""

BATCH_BYTES = 48 * 1024 * 1024
"""Likewise bytes of metrics: some two million points."""

MAX_TEXT_BYTES = 64 * 1024 * 1024
"""A longer param or tag is told and left out."""

MAX_METRIC_BYTES = 4 * 1024**3

STATUSES: Mapping[object, str] = {
    **dict(enumerate(("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"), start=1)),
    **{name: name for name in ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")},
}
"""MLflow's statuses, as numbers or words."""


class Reader:
    """Reads runs, and hands out what it has read as batches.

    Attributes:
        n_files: Files of the batch so far.
        n_bytes: Bytes of its metrics.
        seen: All runs that were read.
    """

    def __init__(self, oddities: list[Oddity], models: Mapping[str | None, Sequence[LoggedModel]]) -> None:
        """Begin.

        Args:
            oddities: Gets what isn't as it should be.
            models: Logged models by run.
        """
        self._oddities = oddities
        self._models = models
        self.seen: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        self.n_files = self.n_bytes = self._n_runs = 0
        self._runs: dict[str, list[Any]] = {name: [] for name in RUN_COLUMNS}
        self._params: dict[str, list[Any]] = {name: [] for name in PARAM_COLUMNS}
        self._tags: dict[str, list[Any]] = {name: [] for name in PARAM_COLUMNS}
        self._inputs: dict[str, list[Any]] = {name: [] for name in INPUT_COLUMNS}
        self._files: dict[str, list[Any]] = {name: [] for name in FILE_COLUMNS}
        self._metrics: list[tuple[str, str, str, bytes]] = []

    def batch(self) -> Batch:
        """What was read since the last one."""
        batch = Batch(
            runs=rows(RUN_COLUMNS, self._runs),
            params=rows(PARAM_COLUMNS, self._params),
            points=read_points(self._metrics, self._oddities).table(),
            tags=rows(PARAM_COLUMNS, self._tags),
            inputs=rows(INPUT_COLUMNS, self._inputs),
            files=rows(FILE_COLUMNS, self._files),
            n_done=self._n_runs,
        )
        self._begin()
        return batch

    def run(self, folder: str, experiment: str) -> None:
        """Read one run.

        Args:
            folder: Its folder.
            experiment: The key of its experiment.
        """
        self._n_runs += 1
        self.n_files += 1
        meta = self._meta(f"{folder}/meta.yaml", "run")
        run_id = folder.rpartition("/")[2]
        if run_id in self.seen:
            self._oddities.append(Oddity("run twice", folder, "a run of this id came before; this one was left out"))
            return
        self.seen.add(run_id)
        is_old = bool(meta) and "run_id" not in meta
        if is_old:
            self._oddities.append(
                Oddity("run of an old layout", folder, "it has run_uuid only, as MLflow 0.x wrote it")
            )
        tags = dict(self._texts(folder, "tags", is_old=False))
        params = self._texts(folder, "params", is_old=is_old)
        end = at(meta.get("end_time"))
        self._read_metrics(folder, run_id, is_over=end is not None or is_old)
        for model in self._models.get(run_id, ()):
            add_files(self._files, f"{model.folder}/artifacts", run_id, self._oddities, f"{model.path}/")
        for columns, pairs in ((self._params, params), (self._tags, tags.items())):
            for key, value in pairs:
                columns["run_id"].append(run_id)
                columns["key"].append(key)
                columns["value"].append(value)
        self._inputs_of(folder, run_id)
        add_files(self._files, f"{folder}/artifacts", run_id, self._oddities)
        start = self._start(folder, meta, end)
        status = STATUSES.get(meta.get("status"))
        if status is None:
            detail = f"its status is {meta.get('status')!r}; it is RUNNING here"
            self._oddities.append(Oddity("run without a status", folder, detail))
        if end is None and status not in (None, "RUNNING", "SCHEDULED"):
            self._oddities.append(Oddity("run without an end", folder, f"it is {status}, and nobody knows since when"))
        is_deleted = meta.get("lifecycle_stage") == "deleted"
        row = {
            "run_id": run_id,
            "experiment": experiment,
            "name": _name(meta, tags),
            "user": None if meta.get("user_id") in (None, "") else str(meta["user_id"]),
            "status": status or "RUNNING",
            "started_at": start,
            "ended_at": end,
            "deleted_at": (at(meta.get("deleted_time")) or end or start) if is_deleted else None,
            "parent_run_id": tags.get("mlflow.parentRunId") or None,
        }
        for name, column in self._runs.items():
            column.append(row[name])

    def _meta(self, path: str, what: str) -> dict[str, Any]:
        try:
            return load_mapping(read(path, MAX_BYTES))
        except FileNotFoundError:
            detail = f"the {what} comes with what else there is of it"
            self._oddities.append(Oddity(f"{what} without meta.yaml", path.rpartition("/")[0], detail))
        except (OSError, YamlError) as error:
            self._oddities.append(Oddity("meta.yaml unreadable", path, str(error)))
        return {}

    def _texts(self, folder: str, name: str, *, is_old: bool) -> list[tuple[str, str]]:
        """Params or tags: a file each."""
        found = []
        for key, entry in files_below(f"{folder}/{name}", self._oddities):
            content = self._content(entry.path, MAX_TEXT_BYTES)
            if content is not None:
                value = text(content, entry.path, self._oddities)
                # MLflow 0.x ended each with a newline.
                found.append((key, value.removesuffix("\n") if is_old else value))
        self.n_files += len(found)
        return found

    def _content(self, path: str, most: int) -> bytes | None:
        try:
            content = read(path, most)
        except OSError as error:
            self._oddities.append(Oddity("file unreadable", path, str(error)))
            return None
        if len(content) > most:
            self._oddities.append(Oddity("file too large", path, f"it has more than {most:,} bytes and was left out"))
            return None
        return content

    def _read_metrics(self, folder: str, run_id: str, *, is_over: bool) -> None:
        for key, entry in files_below(f"{folder}/metrics", self._oddities):
            content = self._content(entry.path, MAX_METRIC_BYTES)
            if content is None:
                continue
            if not content.endswith(b"\n") and content:
                # The last line of a run that goes on may be half-written; of one that is over it is all there is.
                whole = content + b"\n" if is_over else content[: content.rfind(b"\n") + 1]
                detail = "it was taken as it is" if is_over else "it was left out, and comes when it is finished"
                self._oddities.append(Oddity("last line without an end", entry.path, detail))
                content = whole
            self.n_files += 1
            self.n_bytes += len(content)
            self._metrics.append((run_id, key, entry.path, content))

    def _inputs_of(self, folder: str, run_id: str) -> None:
        """Data sets: a run has a folder for each that points to the experiment's description of it."""
        for each in subfolders(f"{folder}/inputs"):
            link = self._meta(f"{each.path}/meta.yaml", "input")
            if link.get("source_type") != "DATASET":
                continue
            described = f"{folder.rpartition('/')[0]}/datasets/{link.get('source_id')}/meta.yaml"
            found = self._meta(described, "dataset")
            if not found:
                continue
            tags = link.get("tags") if isinstance(link.get("tags"), dict) else {}
            row = {
                "run_id": run_id,
                "name": str(found.get("name")),
                "digest": str(found.get("digest")),
                "context": _optional((tags or {}).get("mlflow.data.context")),
                "source_type": _optional(found.get("source_type")),
                "source": _optional(found.get("source")),
                "schema": _optional(found.get("schema")),
                "profile": _optional(found.get("profile")),
            }
            for name, column in self._inputs.items():
                column.append(row[name])

    def _start(self, folder: str, meta: Mapping[str, Any], end: int | None) -> int:
        start = at(meta.get("start_time"))
        if start is not None:
            return start
        self._oddities.append(Oddity("run without a start", folder, "it begins with its end, or its folder's time"))
        return end if end is not None else Path(folder).stat().st_mtime_ns // 1000


def _name(meta: Mapping[str, Any], tags: Mapping[str, str]) -> str | None:
    return _optional(meta.get("run_name") or meta.get("name") or tags.get("mlflow.runName") or None)


def _optional(value: object) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value, default=str)
