"""MLflow's `mlruns` folders, as all releases from 0.x to 3.x have written them.

What is in the files counts, also where MLflow doesn't list it: experiments without ``meta.yaml``, ids that are both
active and in ``.trash``, runs of the first releases.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.imports.base import LOGGED_MODEL, Batch, Oddity, SourceExperiment, SourceKind
from mlwarehouse.imports.folders import entries, read, subfolders
from mlwarehouse.imports.mlflow_places import LoggedModel
from mlwarehouse.imports.mlruns_models import logged_models, registered_models, texts
from mlwarehouse.imports.mlruns_runs import BATCH_BYTES, BATCH_FILES, Reader
from mlwarehouse.imports.yaml_file import MAX_BYTES, YamlError, load_mapping
from mlwarehouse.registry.importing import SourceModel

TRASH = ".trash"
LOOKED_AT = 50
"""Folders that are looked at to find out what a place is."""

_NOT_RUNS = frozenset((TRASH, "models", "datasets", "traces", "tags"))
_DATA = ("metrics", "params", "tags")


@dataclass(frozen=True)
class _Experiment:
    """An experiment's folder: what it is, and the folders of its runs."""

    what: SourceExperiment
    folder: str
    runs: Sequence[str]


@dataclass
class Mlruns:
    """An `mlruns` folder. See `Source`."""

    place: str
    kind: str = "mlruns"
    source_id: str = ""
    unit: str = "runs"
    total: int = 0
    oddities: list[Oddity] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Look which experiments and runs there are."""
        self._models: dict[str | None, list[LoggedModel]] = {}
        active = [e for e in subfolders(self.place) if e.name not in _NOT_RUNS]
        trashed = subfolders(f"{self.place}/{TRASH}")
        found = [self._experiment(e, e.name, in_trash=False) for e in active]
        found += [self._experiment(e, f"{TRASH}/{e.name}", in_trash=True) for e in trashed]
        self._found = sorted((e for e in found if e is not None), key=lambda e: e.what.is_deleted)
        self._tell_twins()
        self.total = sum(len(e.runs) for e in self._found)

    def experiments(self) -> Sequence[SourceExperiment]:
        """See `Source.experiments`."""
        return [e.what for e in self._found]

    def batches(self) -> Iterator[Batch]:
        """See `Source.batches`."""
        reader = Reader(self.oddities, self._models)
        for experiment in self._found:
            for folder in experiment.runs:
                reader.run(folder, experiment.what.key)
                if reader.n_files > BATCH_FILES or reader.n_bytes > BATCH_BYTES:
                    yield reader.batch()
        yield reader.batch()
        for run_id, models in self._models.items():
            for model in models if run_id not in reader.seen else ():
                self.oddities.append(
                    Oddity(
                        "logged model without a run",
                        model.folder,
                        f"there is no run {run_id}; only its description comes",
                    )
                )

    def models(self) -> Sequence[SourceModel]:
        """See `Source.models`."""
        paths = {m.model_id: f"runs:/{m.run_id}/{m.path}" for models in self._models.values() for m in models}
        return registered_models(f"{self.place}/models", paths, self.oddities)

    def _experiment(self, entry: os.DirEntry[str], key: str, *, in_trash: bool) -> _Experiment | None:
        runs = []
        for each in subfolders(entry.path):
            if each.name in _NOT_RUNS:
                continue
            inside = {e.name for e in entries(each.path)}
            if "meta.yaml" in inside or not inside.isdisjoint(_DATA):
                runs.append(each.path)
            elif inside:
                self.oddities.append(
                    Oddity("folder like a run", each.path, "it has neither meta.yaml nor data and was left out")
                )
        meta = self._meta(entry.path)
        if meta is None:
            if not runs:
                return None
            detail = f"its {len(runs)} runs come nevertheless; MLflow itself doesn't list them"
            self.oddities.append(Oddity("experiment without meta.yaml", entry.path, detail))
            meta = {}
        created = meta.get("creation_time")
        logged = logged_models(entry.path, self.oddities)
        for model in logged:
            self._models.setdefault(model.run_id, []).append(model)
        what = SourceExperiment(
            key=key,
            experiment_id=str(meta.get("experiment_id", entry.name)),
            name=str(meta.get("name") or f"experiment {entry.name}"),
            is_deleted=in_trash or meta.get("lifecycle_stage") == "deleted",
            created_at=created * 1000 if isinstance(created, int) else entry.stat().st_mtime_ns // 1000,
            tags=texts(f"{entry.path}/tags", self.oddities)
            | {f"{LOGGED_MODEL}{model.model_id}": model.described() for model in logged},
        )
        return _Experiment(what, entry.path, runs)

    def _meta(self, folder: str) -> dict[str, Any] | None:
        path = f"{folder}/meta.yaml"
        try:
            return load_mapping(read(path, MAX_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, YamlError) as error:
            self.oddities.append(Oddity("meta.yaml unreadable", path, str(error)))
            return {}

    def _tell_twins(self) -> None:
        active = {e.what.experiment_id for e in self._found if not e.what.is_deleted}
        for each in self._found:
            if each.what.is_deleted and each.what.experiment_id in active:
                detail = "this id is another experiment's too, which is active; both come"
                self.oddities.append(Oddity("experiment id twice", each.folder, detail))


def _root(place: str) -> str | None:
    """The `mlruns` in a folder, or the folder itself; None where neither is one."""
    for folder in (f"{place}/mlruns", place):
        for each in (*subfolders(folder)[:LOOKED_AT], *subfolders(f"{folder}/{TRASH}")[:LOOKED_AT]):
            if each.name in _NOT_RUNS:
                continue
            if _is_run(each.path) is False or any(_is_run(run.path) for run in subfolders(each.path)[:LOOKED_AT]):
                return folder
    return None


def _is_run(folder: str) -> bool | None:
    """Whether a folder's ``meta.yaml`` is a run's; None where there is none that tells of either."""
    try:
        content = read(f"{folder}/meta.yaml", MAX_BYTES)
    except OSError:
        return None
    if re.search(rb"^run_(uu)?id:", content, re.MULTILINE):
        return True
    return False if re.search(rb"^experiment_id:", content, re.MULTILINE) else None


def _open(place: str) -> Mlruns:
    place = place.removeprefix("file://")
    root = _root(place)
    if root is None:
        raise InvalidInputError(
            f"`{place}` isn't an mlruns folder: it has no folder with a meta.yaml in it. Name the folder that has the "
            "experiments' folders."
        )
    return Mlruns(str(Path(root).resolve()))


MLRUNS = SourceKind(
    "mlruns",
    "a folder of MLflow's file store",
    claims=lambda place: _root(place.removeprefix("file://")) is not None,
    open=_open,
)
