"""Calls about registered models, their versions, aliases, tags and stages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from mlwarehouse.access import acting
from mlwarehouse.entities import ModelVersion, RegisteredModel
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError
from mlwarehouse.mlflow_api.artifacts import FOLDER, place_of
from mlwarehouse.mlflow_api.checks import check_key, check_length, is_store_address
from mlwarehouse.mlflow_api.logged import artifact_uri, need_model
from mlwarehouse.mlflow_api.messages import said_nothing
from mlwarehouse.mlflow_api.store import MlflowStore
from mlwarehouse.registry import Page

T = TypeVar("T", RegisteredModel, ModelVersion)

MODELS_AT_MOST = 1000
MODELS_ON_A_PAGE = 100
VERSIONS_AT_MOST = 200_000
VERSIONS_ON_A_PAGE = 10_000
"""What a page has: at most, and when nobody says how many."""

MOST_PAGES = 20
"""Pages of the registry that one page is gathered from, for somebody who may read few of its models."""

MOST_TOLD = 100_000
"""What the registry gives at once."""

KEY_LENGTH = 250
TAG_LENGTH = 100_000

_LOGGED = re.compile(r"models:/(m-[0-9a-f]{32})/?")
_KEPT = re.compile(r"runs:/[^/]+/models/(m-[0-9a-f]{32})")
_RUN = re.compile(r"runs:/([^/]+)/(.+)")
_PROMPT = re.compile(r"tags?\.[`\"]?mlflow\.prompt\.is_prompt[`\"]?\s*(!=|=)\s*['\"](true|false)['\"]", re.IGNORECASE)


def create_registered_model(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Make a registered model."""
    name = asked["name"]
    tags = dict(_tag(tag) for tag in asked["tags"])
    try:
        made = store.registry(name).create_registered_model(name, asked["description"], tags)
    except ConflictError:
        raise ConflictError(f"Registered Model (name={name}) already exists.") from None
    return {"registered_model": _told_model(store, made)}


def get_registered_model(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """One registered model."""
    return {"registered_model": _told_model(store, _need(store, asked["name"]))}


def rename_registered_model(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Give a registered model another name."""
    _need(store, asked["name"])
    if not asked["new_name"]:
        raise said_nothing("new_name", "")
    try:
        renamed = store.registry(asked["name"]).rename_registered_model(asked["name"], asked["new_name"])
    except ConflictError as error:
        raise ConflictError(f"Registered Model (name={asked['new_name']}) already exists. {error}") from None
    return {"registered_model": _told_model(store, renamed)}


def update_registered_model(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Describe a registered model."""
    _need(store, asked["name"])
    told = store.registry(asked["name"]).update_registered_model(asked["name"], asked["description"])
    return {"registered_model": _told_model(store, told)}


def delete_registered_model(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Delete a registered model with its versions."""
    _need(store, asked["name"])
    store.registry(asked["name"]).delete_registered_model(asked["name"])
    return {}


def search_registered_models(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """A page of registered models."""
    size = _size(asked["max_results"], MODELS_ON_A_PAGE, MODELS_AT_MOST)
    found, token = _readable(store.warehouse.search_registered_models, asked, size)
    told = [_told_model(store, model) for model in found]
    return {**({"registered_models": told} if told else {}), **_next(token)}


def get_latest_versions(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """The newest version in each stage."""
    _need(store, asked["name"])
    found = store.registry(asked["name"]).get_latest_versions(asked["name"], asked["stages"] or None)
    return {"model_versions": [_told(version) for version in found]} if found else {}


def set_model_tag(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Set a tag of a registered model."""
    _need(store, asked["name"])
    store.registry(asked["name"]).set_registered_model_tag(asked["name"], *_tag(asked))
    return {}


def delete_model_tag(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Remove a tag of a registered model; fine when it has none."""
    if asked["key"] in _need(store, asked["name"]).tags:
        store.registry(asked["name"]).set_registered_model_tag(asked["name"], asked["key"], None)
    return {}


def set_alias(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Point an alias at a version."""
    version = _need_version(store, asked)
    store.registry(asked["name"]).set_model_alias(asked["name"], asked["alias"], version.version)
    return {}


def delete_alias(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Remove an alias; fine when there is none."""
    if asked["alias"] in _need(store, asked["name"]).aliases:
        store.registry(asked["name"]).delete_model_alias(asked["name"], asked["alias"])
    return {}


def get_by_alias(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """The version that an alias points to."""
    if asked["alias"] not in _need(store, asked["name"]).aliases:
        raise InvalidInputError(f"Registered model alias {asked['alias']} not found.")
    found = store.registry(asked["name"]).get_model_version_by_alias(asked["name"], asked["alias"])
    return {"model_version": _told(found)}


def create_version(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Make a logged model, or what a run has logged, the next version."""
    name = asked["name"]
    _need(store, name)
    tags = dict(_tag(tag) for tag in asked["tags"])
    source, run_id = _source(store, asked)
    made = store.registry(name).create_model_version(
        name, source=source, run_id=run_id, digest=None, description=asked["description"], tags=tags
    )
    return {"model_version": _told(made)}


def get_version(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """One version."""
    return {"model_version": _told(_need_version(store, asked))}


def update_version(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Describe a version."""
    version = _need_version(store, asked)
    told = store.registry(asked["name"]).update_model_version(asked["name"], version.version, asked["description"])
    return {"model_version": _told(told)}


def delete_version(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Delete a version and its aliases."""
    store.registry(asked["name"]).delete_model_version(asked["name"], _need_version(store, asked).version)
    return {}


def move_version(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Move a version to a stage."""
    version = _need_version(store, asked)
    moved = store.registry(asked["name"]).transition_model_version_stage(
        asked["name"], version.version, asked["stage"], bool(asked["archive_existing_versions"])
    )
    return {"model_version": _told(moved)}


def search_versions(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """A page of versions."""
    size = _size(asked["max_results"], VERSIONS_ON_A_PAGE, VERSIONS_AT_MOST)
    found, token = _readable(store.warehouse.search_model_versions, asked, min(size, MOST_TOLD))
    told = [_told(version) for version in found]
    return {**({"model_versions": told} if told else {}), **_next(token)}


def set_version_tag(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Set a tag of a version."""
    version = _need_version(store, asked)
    store.registry(asked["name"]).set_model_version_tag(asked["name"], version.version, *_tag(asked))
    return {}


def delete_version_tag(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Remove a tag of a version; fine when it has none."""
    version = _need_version(store, asked)
    if asked["key"] in version.tags:
        store.registry(asked["name"]).set_model_version_tag(asked["name"], version.version, asked["key"], None)
    return {}


def get_download_uri(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Where clients find a version's files."""
    source = _need_version(store, asked).source or ""
    kept, of_run = _KEPT.fullmatch(source), _RUN.fullmatch(source)
    if kept:
        return {"artifact_uri": artifact_uri(store, need_model(store, kept[1], also_deleted=True))}
    if of_run:
        with store.runs.reading(of_run[1]) as state:
            root = store.artifact_root(state.experiment_id)
        return {"artifact_uri": f"{root}/{of_run[1]}/{FOLDER}/{of_run[2]}"}
    return {"artifact_uri": source}


def _source(store: MlflowStore, asked: dict[str, Any]) -> tuple[str, str | None]:
    """Where a version's files are, in our words, and the run that made them."""
    source, run_id = asked["source"], asked["run_id"] or None
    logged, of_run = _LOGGED.fullmatch(source), _RUN.fullmatch(source)
    if logged:
        model = need_model(store, logged[1])
        if asked["model_id"] and asked["model_id"] != model.model_id:
            raise _mismatch("model_id", asked["model_id"], source)
        return f"runs:/{model.owner}/{model.folder}", run_id or model.source_run_id
    if source.startswith(f"{store.root}/"):
        place = place_of(source.removeprefix(store.root))
        if place.model_id:
            model = need_model(store, place.model_id)
            return f"runs:/{model.owner}/{model.folder}", run_id or model.source_run_id
        if not place.path:
            raise InvalidInputError(f"The source `{source}` names all artifacts of a run; name the model's folder.")
        of_run = _RUN.fullmatch(f"runs:/{place.run_id}/{place.path}")
    if of_run:
        if run_id is not None and run_id != of_run[1]:
            raise _mismatch("run_id", run_id, source)
        with store.runs.reading(of_run[1]):
            # The folder's path may not lead elsewhere.
            place_of(f"0/{of_run[1]}/{FOLDER}/{of_run[2]}")
        return of_run[0], of_run[1]
    if not is_store_address(source):
        raise InvalidInputError(
            f"Invalid model version source: '{source}'. It is models:/<model id>, runs:/<run id>/<path>, or the "
            "address of an object store."
        )
    return source, run_id


def _mismatch(what: str, given: str, source: str) -> InvalidInputError:
    return InvalidInputError(f"Invalid model version source: '{source}'. Its {what} isn't `{given}`, which was given.")


def _need(store: MlflowStore, name: str) -> RegisteredModel:
    return _or(lambda: store.registry(name).get_registered_model(name), f"Registered Model with name={name} not found")


def _need_version(store: MlflowStore, asked: dict[str, Any]) -> ModelVersion:
    name, version = asked["name"], asked["version"]
    if not version.isdecimal():
        raise InvalidInputError(f"Parameter 'version' must be an integer, got '{version}'.")
    return _or(
        lambda: store.registry(name).get_model_version(name, version),
        f"Model Version (name={name}, version={version}) not found",
    )


def _or(find: Callable[[], T], message: str) -> T:
    try:
        return find()
    except NotFoundError as error:
        raise NotFoundError(f"{message}. {error}") from None


def _tag(tag: dict[str, Any]) -> tuple[str, str]:
    key = check_length("key", check_key(tag["key"], "key"), KEY_LENGTH)
    return key, check_length("value", tag["value"], TAG_LENGTH)


def _size(given: int | None, usual: int, most: int) -> int:
    size = usual if given is None else given
    if not 1 <= size <= most:
        raise InvalidInputError(
            f"Invalid value for max_results. It must be at most {most} and at least 1, but got value {size}"
        )
    return size


def _filter(text: str | None) -> str:
    """A filter in which what says nothing about prompts is none."""

    def plain(match: re.Match[str]) -> str:
        is_wanted = (match[1] == "=") == (match[2].lower() == "true")
        tag = "tags.`mlflow.prompt.is_prompt`"
        return f"{tag} = 'true'" if is_wanted else f"({tag} IS NULL OR {tag} != 'true')"

    return _PROMPT.sub(plain, text or "")


def _readable(search: Callable[..., Page[T]], asked: dict[str, Any], size: int) -> tuple[list[T], str | None]:
    """A page of what may be read, and where the next one begins.

    It has fewer entries than were asked for when among `MOST_PAGES` pages there are no more.
    """
    who, token, found = acting(), asked["page_token"], list[T]()
    for _ in range(MOST_PAGES):
        page = search(
            _filter(asked["filter"]),
            max_results=size - len(found),
            order_by=asked["order_by"] or None,
            page_token=token,
        )
        found += [entry for entry in page if who is None or who.may_read_model(entry.name)]
        token = page.token
        if token is None or len(found) == size:
            break
    return found, token


def _next(token: str | None) -> dict[str, Any]:
    return {} if token is None else {"next_page_token": token}


def _tags(tags: Any) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in sorted(tags.items())]


def _told_model(store: MlflowStore, model: RegisteredModel) -> dict[str, Any]:
    latest = store.registry(model.name).get_latest_versions(model.name)
    told = {
        "name": model.name,
        "creation_timestamp": model.creation_timestamp,
        "last_updated_timestamp": model.last_updated_timestamp,
        "description": model.description,
        "latest_versions": [_told(version) for version in latest],
        "tags": _tags(model.tags),
        "aliases": [{"alias": a, "version": str(v)} for a, v in sorted(model.aliases.items())],
    }
    return {name: value for name, value in told.items() if value not in (None, [])}


def _told(version: ModelVersion) -> dict[str, Any]:
    source = version.source or ""
    kept = _KEPT.fullmatch(source)
    told = {
        "name": version.name,
        "version": str(version.version),
        "creation_timestamp": version.creation_timestamp,
        "last_updated_timestamp": version.last_updated_timestamp,
        "user_id": version.user_id,
        "current_stage": str(version.current_stage),
        "description": version.description,
        "source": f"models:/{kept[1]}" if kept else source,
        "run_id": version.run_id,
        "status": version.status,
        "tags": _tags(version.tags),
        "aliases": list(version.aliases),
        "model_id": kept[1] if kept else None,
    }
    return {name: value for name, value in told.items() if value not in (None, [])}
