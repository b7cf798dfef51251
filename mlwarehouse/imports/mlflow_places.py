"""Where MLflow keeps files: artifacts of runs, logged models, and the sources of model versions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class LoggedModel:
    """A model that a run logged, as MLflow 3 keeps it: beside the runs.

    Attributes:
        model_id: Its id.
        run_id: The run that made it.
        folder: Its folder, or the address of its files.
        path: Where its files go among the run's artifacts.
        meta: What is known of it.
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


def distinct_paths(models: Iterable[LoggedModel]) -> Iterator[LoggedModel]:
    """Give each model a path among its run's artifacts: its name, where no other of the run has it."""
    taken: set[tuple[str | None, str]] = set()
    for model in models:
        name = str(model.meta.get("name") or model.model_id)
        path = re.sub(r"[^\w.\- ]", "_", name).strip(". ") or model.model_id
        if (model.run_id, path) in taken:
            path = f"{path}-{model.model_id}"
        taken.add((model.run_id, path))
        yield replace(model, path=path)


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


def folder_of(address: str, owner: str, near: Path) -> str | None:
    """The local folder that has the artifacts of an address, if it is at hand.

    It is what the address names, if that is local; else, as where a server hands out files or a store was moved, a
    folder beside the database.

    Args:
        address: An ``artifact_uri``.
        owner: The id of the run or model; a folder that isn't named by it is nobody's, and never read.
        near: The folder of the database.
    """
    parts = urlsplit(address)
    path = unquote(parts.path) if parts.scheme in ("", "file", "mlflow-artifacts") else ""
    tail = re.search(rf"(?:^|/)([^/]+/(?:models/)?{re.escape(owner)}/artifacts)/?$", path)
    if tail is None:
        return None
    candidates = [Path(path)] if parts.scheme == "file" or path.startswith("/") else []
    if parts.scheme == "":
        candidates.append(near / path)
    candidates += [near / folder / tail[1] for folder in ("mlruns", "mlartifacts")]
    return next((str(c) for c in candidates if c.is_dir()), None)


def at(milliseconds: object) -> int | None:
    """A time in milliseconds as microseconds; None where it is none."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int):
        return None
    return milliseconds * 1000 if 0 < milliseconds <= MAX_TIME_MS else None


MAX_TIME_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""
