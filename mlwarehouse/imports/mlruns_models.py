"""Registered and logged models of an `mlruns` folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlwarehouse.imports.base import Oddity
from mlwarehouse.imports.folders import entries, files_below, read, subfolders, text
from mlwarehouse.imports.yaml_file import MAX_BYTES, YamlError, load_mapping
from mlwarehouse.registry.importing import SourceModel, SourceVersion


@dataclass(frozen=True)
class LoggedModel:
    """A model that a run logged, as MLflow 3 keeps it: beside the runs.

    Attributes:
        model_id: Its id.
        run_id: The run that made it.
        folder: Its folder.
        path: Where its files go among the run's artifacts.
        meta: What its ``meta.yaml`` says.
        params: Its params.
        tags: Its tags.
    """

    model_id: str
    run_id: str | None
    folder: str
    path: str
    meta: Mapping[str, Any]
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def described(self) -> str:
        """All that is known of it, as JSON."""
        return json.dumps(
            {**self.meta, "path": self.path, "params": self.params, "tags": self.tags}, sort_keys=True, default=str
        )


def logged_models(experiment: str, oddities: list[Oddity]) -> list[LoggedModel]:
    """The logged models of an experiment.

    Args:
        experiment: Its folder.
        oddities: Gets what can't be read.
    """
    found: list[LoggedModel] = []
    taken: set[tuple[str | None, str]] = set()
    for each in subfolders(f"{experiment}/models"):
        meta = read_meta(each.path, oddities)
        if meta is None:
            continue
        model_id = str(meta.get("model_id", each.name))
        run_id = None if meta.get("source_run_id") is None else str(meta["source_run_id"])
        path = re.sub(r"[^\w.\- ]", "_", str(meta.get("name") or model_id)).strip(". ") or model_id
        if (run_id, path) in taken:
            path = f"{path}-{model_id}"
        taken.add((run_id, path))
        params, tags = (texts(f"{each.path}/{name}", oddities) for name in ("params", "tags"))
        found.append(LoggedModel(model_id, run_id, each.path, path, meta, params, tags))
    return found


def registered_models(folder: str, logged: Mapping[str, str], oddities: list[Oddity]) -> list[SourceModel]:
    """The registered models.

    Args:
        folder: The folder of all of them.
        logged: Where the files of logged models are, by id.
        oddities: Gets what can't be read.
    """
    found = []
    for each in subfolders(folder):
        meta = read_meta(each.path, oddities)
        if meta is None:
            continue
        versions = []
        for entry in subfolders(each.path):
            if entry.name.startswith("version-"):
                described = read_meta(entry.path, oddities)
                version = None if described is None else _version(described, entry.path, logged, oddities)
                versions += [] if version is None else [version]
        aliases = {}
        for alias, number in texts(f"{each.path}/aliases", oddities).items():
            if number.strip().isdecimal():
                aliases[alias] = int(number)
            else:
                oddities.append(Oddity("alias unreadable", each.path, f"`{alias}` is {number[:40]!r}"))
        created = at(meta.get("creation_timestamp"))
        found.append(
            SourceModel(
                name=str(meta.get("name") or each.name),
                created_at=created if created is not None else min((v.created_at for v in versions), default=0),
                updated_at=at(meta.get("last_updated_timestamp")),
                description=meta.get("description") or None,
                tags=texts(f"{each.path}/tags", oddities),
                aliases=aliases,
                versions=sorted(versions, key=lambda v: v.number),
            )
        )
    return found


def _version(
    meta: Mapping[str, Any], folder: str, logged: Mapping[str, str], oddities: list[Oddity]
) -> SourceVersion | None:
    number = str(meta.get("version", folder.rpartition("/")[2].removeprefix("version-")))
    if not number.isdecimal() or not int(number):
        oddities.append(Oddity("version unreadable", folder, f"its number is {number!r}"))
        return None
    created = at(meta.get("creation_timestamp"))
    if created is None:
        oddities.append(Oddity("version without a time", folder, "it is of 1970 here"))
    stage = meta.get("current_stage")
    return SourceVersion(
        number=int(number),
        created_at=created or 0,
        updated_at=at(meta.get("last_updated_timestamp")),
        source=located(str(meta.get("source") or ""), meta.get("run_id"), logged),
        run_id=None if not meta.get("run_id") else str(meta["run_id"]),
        user=None if not meta.get("user_id") else str(meta["user_id"]),
        description=meta.get("description") or None,
        stage=None if stage in (None, "", "None") else str(stage),
        tags=texts(f"{folder}/tags", oddities),
    )


def located(source: str, run_id: object, logged: Mapping[str, str]) -> str:
    """Where a version's files are now: ``runs:/<run_id>/<path>`` where they came with a run, else as it was.

    Args:
        source: Where they were: MLflow writes ``runs:/…``, ``models:/<model_id>`` or a place in its artifact store.
        run_id: The version's run.
        logged: Where the files of logged models are, by id.
    """
    if source.startswith("models:/") and source.removeprefix("models:/") in logged:
        return logged[source.removeprefix("models:/")]
    match = re.search(r"/models/(m-[0-9a-f]{32})/artifacts/?$", source)
    if match and match[1] in logged:
        return logged[match[1]]
    match = re.search(rf"/{re.escape(str(run_id))}/artifacts/(.+)$", source) if run_id else None
    return f"runs:/{run_id}/{match[1]}" if match else source


def read_meta(folder: str, oddities: list[Oddity]) -> dict[str, Any] | None:
    """What a folder's ``meta.yaml`` says; None where there is none that can be read."""
    path = f"{folder}/meta.yaml"
    try:
        return load_mapping(read(path, MAX_BYTES))
    except FileNotFoundError:
        if entries(folder):
            oddities.append(Oddity("model without meta.yaml", folder, "it was left out"))
    except (OSError, YamlError) as error:
        oddities.append(Oddity("meta.yaml unreadable", path, str(error)))
    return None


def texts(folder: str, oddities: list[Oddity]) -> dict[str, str]:
    """The files of a folder, by path, as text."""
    found = {}
    for key, entry in files_below(folder, oddities):
        try:
            found[key] = text(read(entry.path, MAX_BYTES), entry.path, oddities)
        except OSError as error:
            oddities.append(Oddity("file unreadable", entry.path, str(error)))
    return found


def at(milliseconds: object) -> int | None:
    """A time in milliseconds as microseconds; None where it is none."""
    is_number = isinstance(milliseconds, int) and not isinstance(milliseconds, bool)
    return milliseconds * 1000 if is_number and 0 < milliseconds < 253_402_300_800_000 else None  # type: ignore[operator]


__all__: Sequence[str] = ("LoggedModel", "at", "located", "logged_models", "read_meta", "registered_models", "texts")
