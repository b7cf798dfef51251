"""Artifacts through the server: whose a path is, what is there, its bytes.

Clients name a file by where MLflow's server would keep it: ``<experiment>/<run>/artifacts/<path>``. Here it is a row of
its run and a blob under its digest, so that it is the same file for those who read without MLflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO

from mlwarehouse.artifacts import clean_path
from mlwarehouse.errors import InvalidInputError, NotFoundError
from mlwarehouse.mlflow_api.store import MlflowStore

FOLDER = "artifacts"
"""The folder of a run that holds its artifacts."""


@dataclass(frozen=True)
class Place:
    """Where an artifact is.

    Attributes:
        run_id: Its run.
        path: Its path among the run's artifacts; empty for all of them.
    """

    run_id: str
    path: str


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


def list_proxied(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """The same, by where MLflow's server would keep it; each entry by its name alone."""
    files = _listed(store, place_of(asked["path"] or ""), whole=False)
    return {"files": files} if files else {}


def put_artifact(store: MlflowStore, where: str, content: BinaryIO) -> None:
    """Store a file as an artifact of a run; one that is there is replaced.

    Args:
        store: The store.
        where: Its place, as `place_of` reads it.
        content: Its bytes, from the start; it can be read again.

    Raises:
        InvalidInputError: A place that can't be, or a deleted run.
        NotFoundError: There is no such run.
        StoreRefusedError: The artifact store takes no file.
    """
    place = place_of(where)
    if not place.path:
        raise InvalidInputError(f"`{where}` names no file.")
    with store.runs.writing(place.run_id):
        pass
    # Outside of the run's lock: a file may be large.
    stored = store.warehouse.artifact_store().put_stream(content)
    with store.runs.writing(place.run_id) as live:
        store.runs.join(live)
        store.recorder.put(
            "artifact_events",
            {"run_id": place.run_id, "attempt": live.state.attempt, "kind": "file"},
            ["path", "digest", "size_bytes"],
            [[place.path, stored.digest, stored.size_bytes]],
        )
    store.recorder.make_durable()


def open_artifact(store: MlflowStore, place: Place) -> Found:
    """Open an artifact.

    Raises:
        NotFoundError: There is none.
        StorageError: The store can't be read.
    """
    rows = store.query(
        "SELECT digest, size_bytes FROM artifacts WHERE run_id = $run_id AND path = $path",
        {"run_id": place.run_id, "path": place.path},
    ).to_pylist()
    if not rows:
        raise NotFoundError(f"Run `{place.run_id}` has no artifact `{place.path}`.")
    stream = store.warehouse.artifact_store().open(rows[0]["digest"])
    return Found(stream, rows[0]["size_bytes"], place.path.rpartition("/")[2])


def place_of(where: str) -> Place:
    """Read where MLflow's server would keep an artifact.

    Raises:
        InvalidInputError: It isn't a run's, or its path could lead elsewhere.
    """
    parts = where.strip("/").split("/")
    if len(parts) < 3 or parts[2] != FOLDER:
        raise InvalidInputError(
            f"`{ascii(where[:80])[1:-1]}` isn't an artifact's place: it is <experiment>/<run>/{FOLDER}/<path>."
        )
    path = "/".join(parts[3:])
    return Place(parts[1], clean_path(path) if path else "")


def _listed(store: MlflowStore, place: Place, *, whole: bool) -> list[dict[str, Any]]:
    """What is right in a folder: files, and folders."""
    prefix = f"{place.path}/" if place.path else ""
    rows = store.query(
        "SELECT path, size_bytes FROM artifacts WHERE run_id = $run_id AND STARTS_WITH(path, $prefix) ORDER BY path",
        {"run_id": place.run_id, "prefix": prefix},
    )
    entries: dict[str, dict[str, Any]] = {}
    for path, size in zip(rows.column("path").to_pylist(), rows.column("size_bytes").to_pylist(), strict=True):
        name, _, below = path.removeprefix(prefix).partition("/")
        shown = f"{prefix}{name}" if whole else name
        entries[name] = (
            {"path": shown, "is_dir": True} if below else {"path": shown, "is_dir": False, "file_size": size}
        )
    return list(entries.values())
