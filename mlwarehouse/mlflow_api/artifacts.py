"""Artifacts through the server: whose a path is, what is there, its bytes.

Clients name a file by where MLflow's server would keep it: ``<experiment>/<run>/artifacts/<path>``, or for a logged
model ``<experiment>/models/<model>/artifacts/<path>``. Here it is a row of its run and a blob under its digest, so that
it is the same file for those who read without MLflow.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, BinaryIO

from mlwarehouse.artifacts import clean_path
from mlwarehouse.errors import InvalidInputError, NotFoundError
from mlwarehouse.mlflow_api.logged import artifact_uri, need_model
from mlwarehouse.mlflow_api.store import MlflowStore

FOLDER = "artifacts"
"""The folder of a run, or of a model, that holds its artifacts."""

MODELS = "models"
"""The folder of an experiment that holds its models."""


@dataclass(frozen=True)
class Place:
    """Where an artifact is.

    Attributes:
        run_id: Its run; empty when it is a logged model's.
        path: Its path among the run's or model's artifacts; empty for all of them.
        model_id: Its logged model.
    """

    run_id: str
    path: str
    model_id: str = ""


@dataclass(frozen=True)
class Found:
    """An artifact's bytes.

    Attributes:
        stream: Reads them; they are checked on the way.
        size_bytes: How many there are.
        name: The file's name.
    """

    stream: BinaryIO
    size_bytes: int
    name: str


def list_artifacts(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """What is in a folder of a run's artifacts."""
    path = clean_path(asked["path"]) if asked["path"] else ""
    with store.runs.reading(asked["run_id"]) as state:
        root = f"{store.artifact_root(state.experiment_id)}/{state.run_id}/{FOLDER}"
    files = _listed(store, Place(asked["run_id"], path), whole=True)
    return {"root_uri": root, **({"files": files} if files else {})}


def list_model(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """What is in a folder of a logged model's artifacts."""
    path = clean_path(asked["artifact_directory_path"]) if asked["artifact_directory_path"] else ""
    model = need_model(store, asked["model_id"])
    files = _listed(store, Place("", path, model.model_id), whole=True)
    return {"root_uri": artifact_uri(store, model), **({"files": files} if files else {})}


def list_proxied(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """The same, by where MLflow's server would keep it; each entry by its name alone."""
    files = _listed(store, place_of(asked["path"] or ""), whole=False)
    return {"files": files} if files else {}


def put_artifact(store: MlflowStore, where: str, content: BinaryIO) -> None:
    """Store a file as an artifact of a run or a logged model; one that is there is replaced.

    Args:
        store: The store.
        where: Its place, as `place_of` reads it.
        content: Its bytes, from the start; it can be read again.

    Raises:
        InvalidInputError: A place that can't be, or a deleted run.
        NotFoundError: There is no such run or model.
        StoreRefusedError: The artifact store takes no file.
    """
    place = place_of(where)
    if not place.path:
        raise InvalidInputError(f"`{where}` names no file.")
    kind, run_id, path = "model" if place.model_id else "file", *_owner(store, place)
    has_run = run_id != place.model_id
    if has_run:
        with store.runs.writing(run_id):
            pass
    # Outside of the run's lock: a file may be large.
    stored = store.warehouse.artifact_store().put_stream(content)
    row = [path, stored.digest, stored.size_bytes]
    with store.runs.writing(run_id) if has_run else nullcontext() as live:
        attempt = 0
        if live is not None:
            store.runs.join(live)
            attempt = live.state.attempt
        shared = {"run_id": run_id, "attempt": attempt, "kind": kind}
        store.recorder.put("artifact_events", shared, ["path", "digest", "size_bytes"], [row])
    store.recorder.make_durable()


def open_artifact(store: MlflowStore, place: Place) -> Found:
    """Open an artifact.

    Raises:
        NotFoundError: There is none.
        StorageError: The store can't be read.
    """
    run_id, path = _owner(store, place)
    rows = store.query(
        "SELECT digest, size_bytes FROM artifacts WHERE run_id = $run_id AND path = $path",
        {"run_id": run_id, "path": path},
    ).to_pylist()
    if not rows:
        raise NotFoundError(f"Run `{run_id}` has no artifact `{path}`.")
    stream = store.warehouse.artifact_store().open(rows[0]["digest"])
    return Found(stream, rows[0]["size_bytes"], place.path.rpartition("/")[2])


def place_of(where: str) -> Place:
    """Read where MLflow's server would keep an artifact.

    Raises:
        InvalidInputError: It isn't a run's, or its path could lead elsewhere.
    """
    parts = where.strip("/").split("/")
    is_model = len(parts) > 1 and parts[1] == MODELS
    at = 3 if is_model else 2
    if len(parts) <= at or parts[at] != FOLDER:
        raise InvalidInputError(
            f"`{ascii(where[:80])[1:-1]}` isn't an artifact's place: it is <experiment>/<run>/{FOLDER}/<path>, or "
            f"<experiment>/{MODELS}/<model>/{FOLDER}/<path>."
        )
    path = "/".join(parts[at + 1 :])
    clean = clean_path(path) if path else ""
    return Place("", clean, parts[2]) if is_model else Place(parts[1], clean)


def _owner(store: MlflowStore, place: Place) -> tuple[str, str]:
    """The run, and the path among its artifacts."""
    if not place.model_id:
        return place.run_id, place.path
    model = need_model(store, place.model_id, also_deleted=True)
    return model.owner, f"{model.folder}/{place.path}" if place.path else model.folder


def _listed(store: MlflowStore, place: Place, *, whole: bool) -> list[dict[str, Any]]:
    """What is right in a folder: files, and folders."""
    run_id, folder = _owner(store, place)
    prefix = f"{folder}/" if folder else ""
    rows = store.query(
        "SELECT path, size_bytes FROM artifacts WHERE run_id = $run_id AND STARTS_WITH(path, $prefix) ORDER BY path",
        {"run_id": run_id, "prefix": prefix},
    )
    entries: dict[str, dict[str, Any]] = {}
    for path, size in zip(rows.column("path").to_pylist(), rows.column("size_bytes").to_pylist(), strict=True):
        name, _, below = path.removeprefix(prefix).partition("/")
        shown = f"{place.path}/{name}" if whole and place.path else name
        entries[name] = (
            {"path": shown, "is_dir": True} if below else {"path": shown, "is_dir": False, "file_size": size}
        )
    return list(entries.values())
