"""What is slow to know of a run's surroundings: looked up by a thread while the run goes on, once a process."""

from __future__ import annotations

import contextlib
import threading
import warnings
from dataclasses import dataclass

from mlwarehouse.artifacts import ArtifactStore, Stored
from mlwarehouse.config import Settings
from mlwarehouse.errors import RunFinishedError, WarehouseError
from mlwarehouse.ingest.environment import package_list
from mlwarehouse.ingest.gpus import Gpus
from mlwarehouse.ingest.run import ActiveRun
from mlwarehouse.ingest.source_code import MAX_DIFF_BYTES, source_code

PACKAGES_FILE = "environment/packages.txt"
"""Where a run's list of installed packages stands in its artifacts."""

DIFF_FILE = "environment/code.diff"
"""Where what was changed since the commit stands in a run's artifacts."""

WAIT_S = 15.0
"""How long the end of a run waits for what is being looked up."""


@dataclass(frozen=True)
class Surroundings:
    """What was found.

    Attributes:
        tags: Tags of commit, branch and GPUs.
        files: Stored files by path.
    """

    tags: dict[str, str]
    files: dict[str, Stored]


class Capture:
    """Adds the surroundings to the runs that one process starts in one warehouse."""

    def __init__(self, artifacts: ArtifactStore, settings: Settings) -> None:
        """Look nothing up yet.

        Args:
            artifacts: Where files go.
            settings: Say what is wanted.
        """
        self._artifacts = artifacts
        self._settings = settings
        self._found: Surroundings | None = None
        self._lock = threading.Lock()

    def add_to(self, run: ActiveRun) -> None:
        """Add the surroundings to a new run, where they are wanted: at once when they are known, else while it runs."""
        if not self._settings.capture_code or run.is_joined or run.attempt:
            return
        if self._found is not None:
            _add(run, self._found)
            return
        thread = threading.Thread(target=self._look_up, args=(run,), name="mlwarehouse-capture", daemon=True)
        run.before_end(lambda: thread.join(WAIT_S))
        thread.start()

    def _look_up(self, run: ActiveRun) -> None:
        try:
            with self._lock:
                if self._found is None:
                    self._found = self._surroundings()
            # A run may have ended without waiting for more.
            with contextlib.suppress(RunFinishedError):
                _add(run, self._found)
        except (OSError, WarehouseError) as error:
            # A full disk, say: no reason to stop a training.
            warnings.warn(
                f"mlwarehouse couldn't keep what run `{run.run_id}` runs on: {error}", RuntimeWarning, stacklevel=2
            )

    def _surroundings(self) -> Surroundings:
        tags: dict[str, str] = {}
        files: dict[str, Stored] = {}
        code = source_code(with_diff=self._settings.capture_diff)
        if code is not None:
            tags["mlflow.source.git.commit"] = code.commit
            tags["mlflow.source.git.branch"] = code.branch
            if code.is_dirty is not None:
                tags["mlwarehouse.git.is_dirty"] = "true" if code.is_dirty else "false"
            if code.diff:
                files[DIFF_FILE] = self._artifacts.put_bytes(code.diff)
            if code.is_cut:
                tags["mlwarehouse.git.diff"] = f"cut at {MAX_DIFF_BYTES} bytes"
        models = Gpus().models()
        if models:
            tags["mlwarehouse.gpu"] = ", ".join(f"{models.count(m)} x {m}" for m in dict.fromkeys(models))
        if self._settings.capture_packages:
            files[PACKAGES_FILE] = self._artifacts.put_bytes(package_list().encode())
        return Surroundings(tags, files)


def _add(run: ActiveRun, found: Surroundings) -> None:
    run.set_default_tags(found.tags)
    run.log_stored(found.files)
