"""Registered and logged models of an `mlruns` folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlwarehouse.imports.base import Oddity
from mlwarehouse.imports.folders import entries, files_below, read, subfolders, text
from mlwarehouse.imports.mlflow_places import LoggedModel, at, distinct_paths, located
from mlwarehouse.imports.yaml_file import MAX_BYTES, YamlError, load_mapping
from mlwarehouse.registry.importing import SourceModel, SourceVersion


def logged_models(experiment: str, oddities: list[Oddity]) -> list[LoggedModel]:
    """The logged models of an experiment.

    Args:
        experiment: Its folder.
        oddities: Gets what can't be read.
    """
    found: list[LoggedModel] = []
    for each in subfolders(f"{experiment}/models"):
        meta = read_meta(each.path, oddities)
        if meta is None:
            continue
        model_id = str(meta.get("model_id", each.name))
        run_id = None if meta.get("source_run_id") is None else str(meta["source_run_id"])
        params, tags = (texts(f"{each.path}/{name}", oddities) for name in ("params", "tags"))
        found.append(LoggedModel(model_id, run_id, each.path, "", meta, params, tags))
    return list(distinct_paths(found))


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
