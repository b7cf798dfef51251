"""Logging to one warehouse from one process: experiments, runs, and which run is active where."""

from __future__ import annotations

import atexit
import contextlib
import time
import warnings
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from mlwarehouse.artifacts import ArtifactStore
from mlwarehouse.config import Settings
from mlwarehouse.entities import RunInfo, RunStatus
from mlwarehouse.errors import InvalidInputError, StorageError
from mlwarehouse.ingest.committer import start_committer
from mlwarehouse.ingest.environment import environment_tags, package_list
from mlwarehouse.ingest.identity import (
    DEFAULT_EXPERIMENT,
    experiment_id_of,
    login_name,
    new_run_id,
    new_run_name,
)
from mlwarehouse.ingest.keeper import Keeper
from mlwarehouse.ingest.run import HEARTBEATS_TO_MISS, ActiveRun
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_writer import SpoolWriter
from mlwarehouse.location import Location

PACKAGES_FILE = "environment/packages.txt"
"""Where a run's list of installed packages stands in its artifacts."""


NO_RUN = "No run is active: start one by `with mlwarehouse.start_run(): ...`."


@dataclass(frozen=True)
class ResumedRun:
    """What must be known of a run to go on with it.

    Attributes:
        info: Its identity and state.
        attempt: Its last attempt.
        params: Its params, so that one set again to another value is refused.
    """

    info: RunInfo
    attempt: int
    params: Mapping[str, str]


class Logger:
    """Logs to one warehouse from this process; threads share it.

    The active run is per context (thread, task): `start_run` puts a run on top of the context's stack, ending it takes
    it off. A thread that started none logs to the process's run when there is just one.

    Attributes:
        folder: This machine's spool for the warehouse.
        stack: The runs that the context has started, the innermost last; ended ones may still be among them.
        actor: The name written beside what is logged.
    """

    def __init__(
        self,
        location: Location,
        settings: Settings,
        *,
        artifacts: ArtifactStore,
        look_up: Callable[[str], ResumedRun],
    ) -> None:
        """Prepare to log; nothing is written yet.

        Args:
            location: The warehouse.
            settings: The settings in force.
            artifacts: Where files go.
            look_up: Finds a run to resume; raises `NotFoundError`.
        """
        self._location = location
        self._settings = settings
        self._artifacts = artifacts
        self._look_up = look_up
        self.folder = SpoolFolder.of(location.root, location.warehouse_id, settings)
        self._writer = SpoolWriter(self.folder, always_sync=settings.durability == "always")
        self._keeper: Keeper | None = None
        self._experiment: str | None = None
        self._created: set[str] = set()
        self._running: dict[str, ActiveRun] = {}
        self.stack: ContextVar[tuple[ActiveRun, ...]] = ContextVar("mlwarehouse_runs", default=())
        self.actor = settings.actor or login_name()

    @property
    def experiment(self) -> str | None:
        """The experiment that `set_experiment` chose."""
        return self._experiment

    @property
    def dropped(self) -> int:
        """Records that this process couldn't keep."""
        return self._writer.dropped

    def set_experiment(self, name: str) -> str:
        """Choose the experiment of the runs that follow, making it where it isn't there.

        Returns:
            Its proposed id; an experiment that has the name already keeps its own.
        """
        experiment_id = self._ensure_experiment(name)
        self._experiment = name
        return experiment_id

    def start_run(
        self,
        *,
        experiment: str | None = None,
        run_name: str | None = None,
        run_id: str | None = None,
        nested: bool = False,
        parent_run_id: str | None = None,
        tags: Mapping[str, Any] | None = None,
        description: str | None = None,
        experiment_id: str | None = None,
    ) -> ActiveRun:
        """Start a run, or resume one; see `mlwarehouse.start_run`."""
        stack = self._alive()
        if stack and not nested and parent_run_id is None:
            raise InvalidInputError(
                f"Run `{stack[-1].run_id}` is active. End it by `end_run()`, or start a nested one by `nested=True`."
            )
        if experiment is not None and experiment_id is not None:
            raise InvalidInputError("A run has one experiment: give `experiment` or `experiment_id`, not both.")
        if run_id is not None:
            run = self._resume(run_id, experiment or experiment_id)
        else:
            parent = parent_run_id or (stack[-1].run_id if nested and stack else None)
            if experiment_id is None:
                experiment_id = self._ensure_experiment(experiment or self._experiment or DEFAULT_EXPERIMENT)
            run = self._begin(experiment_id, run_name or new_run_name(), parent)
        if description is not None:
            run.set_tag("mlflow.note.content", description)
        if tags:
            run.set_tags(tags)
        self._running[run.run_id] = run
        self.stack.set((*stack, run))
        self._look_after()
        return run

    def active_run(self) -> ActiveRun | None:
        """The run that this context logs to, or None."""
        stack = self.stack.get()
        if stack and not stack[-1].is_ended:
            return stack[-1]
        stack = self._alive()
        if stack:
            return stack[-1]
        running = list(self._running.values())
        return running[0] if len(running) == 1 else None

    def need_active_run(self) -> ActiveRun:
        """The run that this context logs to.

        Raises:
            InvalidInputError: There is none, or several and this thread started none of them.
        """
        run = self.active_run()
        if run is None:
            raise InvalidInputError(
                NO_RUN
                if not self._running
                else f"{len(self._running)} runs are active and this thread started none of them: call the methods of "
                "the run that is meant."
            )
        return run

    def end_run(self, status: str = RunStatus.FINISHED) -> None:
        """End this context's run, if there is one."""
        run = self.active_run()
        if run is not None:
            run.end(status)

    def sync(self) -> None:
        """Force what this process has logged to disk."""
        self._writer.sync()

    def close(self) -> None:
        """End the runs that are active, as FINISHED, and finish this process's spool."""
        for run in list(self._running.values()):
            run.end()
        if self._keeper is not None:
            self._keeper.stop()
            self._keeper = None
        with contextlib.suppress(OSError):
            self._writer.close()
        atexit.unregister(self.close)

    def _alive(self) -> tuple[ActiveRun, ...]:
        return tuple(r for r in self.stack.get() if not r.is_ended)

    def _ensure_experiment(self, name: str) -> str:
        if not isinstance(name, str) or not name.strip():
            raise InvalidInputError(f"An experiment's name must be text that isn't empty; got {name!r}.")
        experiment_id = experiment_id_of(name)
        if name not in self._created:
            self.folder.create()
            self._writer.put_rows(
                "experiment_events",
                {"experiment_id": experiment_id, "kind": "created", "actor": self.actor},
                ["name"],
                [[name]],
            )
            self._created.add(name)
        return experiment_id

    def _begin(self, experiment_id: str, name: str, parent: str | None) -> ActiveRun:
        self.folder.create()
        now = time.time_ns() // 1000
        info = RunInfo(
            run_id=(run_id := new_run_id()),
            experiment_id=experiment_id,
            run_name=name,
            user_id=self.actor,
            status=RunStatus.RUNNING,
            start_time=now // 1000,
            end_time=None,
            lifecycle_stage="active",
            artifact_uri=f"runs:/{run_id}",
        )
        self._writer.put_rows(
            "run_events",
            {"run_id": run_id, "attempt": 0, "actor": self.actor, "experiment_id": experiment_id},
            ["kind", "name", "status", "parent_run_id", "heartbeat_due_at"],
            [["started", name, RunStatus.RUNNING, parent, now + self._promise_us()]],
            time_us=now,
        )
        run = self._run(info, attempt=0, params={})
        tags = {"mlflow.runName": name}
        if parent is not None:
            tags["mlflow.parentRunId"] = parent
        if self._settings.capture_code:
            tags |= environment_tags()
            try:
                run.log_text(package_list(), PACKAGES_FILE)
            except (OSError, StorageError) as error:
                # A full disk must not keep a training from starting.
                warnings.warn(f"mlwarehouse couldn't keep the list of packages: {error}", RuntimeWarning, stacklevel=4)
        run.set_tags(tags)
        return run

    def _resume(self, run_id: str, experiment: str | None) -> ActiveRun:
        if experiment is not None:
            raise InvalidInputError(f"Run `{run_id}` is resumed within its own experiment; leave `experiment` out.")
        if run_id in self._running:
            raise InvalidInputError(f"Run `{run_id}` is active in this process already.")
        found = self._look_up(run_id)
        self.folder.create()
        now = time.time_ns() // 1000
        self._writer.put_rows(
            "run_events",
            {"run_id": run_id, "attempt": found.attempt + 1, "actor": self.actor},
            ["kind", "status", "heartbeat_due_at"],
            [["resumed", RunStatus.RUNNING, now + self._promise_us()]],
            time_us=now,
        )
        return self._run(found.info, attempt=found.attempt + 1, params=found.params)

    def _run(self, info: RunInfo, *, attempt: int, params: Mapping[str, str]) -> ActiveRun:
        return ActiveRun(
            info=info,
            attempt=attempt,
            writer=self._writer,
            artifacts=self._artifacts,
            actor=self.actor,
            params=params,
            on_end=self._ended,
        )

    def _ended(self, run: ActiveRun) -> None:
        self._running.pop(run.run_id, None)
        self.stack.set(self._alive())
        if self._settings.durability != "os":
            self._writer.sync()

    def _promise_us(self) -> int:
        return int(HEARTBEATS_TO_MISS * self._settings.heartbeat_s * 1e6)

    def _look_after(self) -> None:
        """See that a committer runs, and that this process has its keeper."""
        if self._settings.committer == "auto":
            self.see_to_committer()
        if self._keeper is None or not self._keeper.is_alive():
            self._keeper = Keeper(
                self._writer,
                does_sync=self._settings.durability == "interval",
                heartbeat_s=self._settings.heartbeat_s,
                send_heartbeats=self._send_heartbeats,
                see_to_committer=self.see_to_committer if self._settings.committer == "auto" else _nothing,
            )
            atexit.register(self.close)

    def see_to_committer(self) -> None:
        """Start a committer unless one is alive; where that fails, say so and go on: the spool keeps everything."""
        try:
            start_committer(
                self._location.root,
                self.folder,
                interval_s=self._settings.commit_interval_s,
                idle_s=self._settings.committer_idle_s,
            )
        except OSError as error:
            warnings.warn(
                f"mlwarehouse's committer can't be started ({error}). Logging goes on into the spool; commit it by "
                "`mlwarehouse sync`.",
                RuntimeWarning,
                stacklevel=2,
            )

    def _send_heartbeats(self) -> None:
        for run in list(self._running.values()):
            run.heartbeat(HEARTBEATS_TO_MISS * self._settings.heartbeat_s)


def _nothing() -> None:
    """The keeper's duty towards the committer where there shall be none."""
