"""What a request acts on: the experiment or registered model behind each kind of name that a request may use."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mlwarehouse.access import EVERYTHING, EXPERIMENTS, MODELS, Need, On
from mlwarehouse.errors import NotFoundError
from mlwarehouse.ingest.identity import DEFAULT_EXPERIMENT_ID
from mlwarehouse.mlflow_api import MlflowStore
from mlwarehouse.mlflow_api.artifacts import place_of
from mlwarehouse.mlflow_api.logged import need_model

_RUN = re.compile(r"runs:/([^/]+)(/.*)?")
_LOGGED = re.compile(r"models:/(m-[0-9a-f]{32})/?")
_VERSION = re.compile(r"models:/([^/@]+)[/@].*")


def things_of(store: MlflowStore, need: Need, asked: Mapping[str, Any]) -> list[str]:
    """What a need is about in a request.

    Args:
        store: What is asked.
        need: The need.
        asked: The request, as its handler reads it.

    Returns:
        Things as roles are granted on: ``*``, ``experiments/<id>``, ``models/<name>``; none where the field names
        nothing.

    Raises:
        InvalidInputError: A name that can't be.
        NotFoundError: There is no such thing.
    """
    return FINDERS[need.on](store, asked.get(need.field))


def said_of(need: Need, asked: Mapping[str, Any]) -> str:
    """What a request acts on, in its own words, for `audit`."""
    value = asked.get(need.field)
    if need.on in ("everything", "listed") or not value:
        return EVERYTHING
    kind = {
        "experiment": EXPERIMENTS,
        "run": "runs/",
        "runs": "runs/",
        "logged_model": "logged-models/",
        "model": MODELS,
    }.get(need.on, "")
    return f"{kind}{value}" if isinstance(value, str) else ", ".join(map(str, value))


def _everything(store: MlflowStore, value: Any) -> list[str]:
    del store, value
    return [EVERYTHING]


def _nothing(store: MlflowStore, value: Any) -> list[str]:
    del store, value
    return []


def _experiment(store: MlflowStore, value: Any) -> list[str]:
    del store
    return [EXPERIMENTS + (value or DEFAULT_EXPERIMENT_ID)]


def _experiments(store: MlflowStore, value: Any) -> list[str]:
    del store
    return [EXPERIMENTS + each for each in value or ()]


def _experiment_name(store: MlflowStore, value: Any) -> list[str]:
    found = store.experiment_named(value) if value else None
    return [] if found is None else [EXPERIMENTS + found.experiment_id]


def _run(store: MlflowStore, value: Any) -> list[str]:
    return [EXPERIMENTS + store.experiment_of_run(value)] if value else []


def _runs(store: MlflowStore, value: Any) -> list[str]:
    """The experiments of runs; everything, for one that isn't there.

    It may have rows all the same, as when an import broke off, and to whom these belong nobody knows.
    """
    found: list[str] = []
    for run_id in [value] if isinstance(value, str) else value or ():
        try:
            found += _run(store, run_id)
        except NotFoundError:
            found.append(EVERYTHING)
    return found


def _logged_model(store: MlflowStore, value: Any) -> list[str]:
    if not value:
        return []
    return [EXPERIMENTS + store.remembered(value, lambda: need_model(store, value, also_deleted=True).experiment_id)]


def _model(store: MlflowStore, value: Any) -> list[str]:
    del store
    return [MODELS + value] if value else []


def _source(store: MlflowStore, value: Any) -> list[str]:
    """Of the address of a version's files: what is in an object store isn't ours to guard."""
    if logged := _LOGGED.fullmatch(value or ""):
        return _logged_model(store, logged[1])
    if run := _RUN.fullmatch(value or ""):
        return _run(store, run[1])
    if version := _VERSION.fullmatch(value or ""):
        return _model(store, version[1])
    if value and value.startswith(f"{store.root}/"):
        return _place(store, value.removeprefix(store.root))
    return []


def _place(store: MlflowStore, value: Any) -> list[str]:
    place = place_of(value or "")
    return _logged_model(store, place.model_id) if place.model_id else _run(store, place.run_id)


FINDERS: dict[On, Callable[[MlflowStore, Any], list[str]]] = {
    "everything": _everything,
    "listed": _nothing,
    "experiment": _experiment,
    "experiments": _experiments,
    "experiment_name": _experiment_name,
    "run": _run,
    "runs": _runs,
    "logged_model": _logged_model,
    "model": _model,
    "source": _source,
    "place": _place,
}
"""How what a request names is found, for each kind of name."""
