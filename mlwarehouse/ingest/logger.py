"""Logging to one warehouse from one process: experiments, runs, and which run is active where."""

from __future__ import annotations

import atexit
import time
import warnings
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from mlwarehouse.artifacts import ArtifactStore
from mlwarehouse.config import Settings
from mlwarehouse.entities import FORK_RUN_TAG, FORK_STEP_TAG, RunInfo, RunStatus
from mlwarehouse.errors import InvalidInputError, NotFoundError
from mlwarehouse.ingest.capture import Capture
from mlwarehouse.ingest.committer import start_committer
from mlwarehouse.ingest.environment import process_tags
from mlwarehouse.ingest.identity import (
    DEFAULT_EXPERIMENT,
    experiment_id_of,
    login_name,
    new_run_id,
    new_run_name,
)
from mlwarehouse.ingest.joining import (
    FoundRun,
    await_starter,
    check_start,
    is_running,
    launched_run_id,
    process_label,
    rank,
    running_again,
    unknown_run,
)
from mlwarehouse.ingest.keeper import Keeper
from mlwarehouse.ingest.leaving import status_at_exit
from mlwarehouse.ingest.run import HEARTBEATS_TO_MISS, ActiveRun
from mlwarehouse.ingest.shelf import Shelf
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_writer import SpoolWriter
from mlwarehouse.ingest.system_metrics import Sampler
from mlwarehouse.ingest.trouble import TroubleWatch
from mlwarehouse.location import Location

NO_RUN = "No run is active: start one by `with mlwarehouse.start_run(): ...`."


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
        look_up: Callable[[str], FoundRun],
    ) -> None:
        """Prepare to log; nothing is written yet.

        Args:
            location: The warehouse.
            settings: The settings in force.
            artifacts: Where files go.
            look_up: Finds a run to resume or to join; raises `NotFoundError`.
        """
        self._location = location
        self._settings = settings
        self._look_up = look_up
        self.folder = SpoolFolder.of(location.spools, location.warehouse_id, settings)
        self._shelf = Shelf(artifacts, self.folder)
        self._writer = SpoolWriter(self.folder, always_sync=settings.durability == "always")
        self._trouble = TroubleWatch(self.folder.path)
        self._keeper: Keeper | None = None
        self._experiment: str | None = None
        self._created: set[str] = set()
        self._running: dict[str, ActiveRun] = {}
        self._has_folder = False
        self._has_launched = False
        self._capture = Capture(artifacts, settings)
        self._sampler = Sampler(settings.system_metrics_s)
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
        join: bool | None = None,
        fork_from: str | None = None,
        fork_step: int | None = None,
    ) -> ActiveRun:
        """Start a run, resume one, or join one; see `mlwarehouse.start_run`."""
        stack = self._alive()
        # A fork that names its parent's run joins it.
        if (
            stack
            and not nested
            and parent_run_id is None
            and not (stack[-1].is_inherited and stack[-1].run_id == run_id)
        ):
            raise InvalidInputError(
                f"Run `{stack[-1].run_id}` is active. End it by `end_run()`, or start a nested one by `nested=True`."
            )
        if experiment is not None and experiment_id is not None:
            raise InvalidInputError("A run has one experiment: give `experiment` or `experiment_id`, not both.")
        if run_id is not None and (experiment or experiment_id) is not None:
            raise InvalidInputError(f"Run `{run_id}` is resumed within its own experiment; leave `experiment` out.")
        launched = None if run_id or stack or nested or parent_run_id or fork_from else self._launched()
        check_start(run_id or launched, join, fork_from, fork_step)
        if fork_from is not None:
            forked = self._look_up(fork_from).info
            experiment_id = experiment_id or (None if experiment else forked.experiment_id)

        def begin(new_id: str) -> ActiveRun:
            parent = parent_run_id or (stack[-1].run_id if nested and stack else None)
            its_id = experiment_id or self._ensure_experiment(experiment or self._experiment or DEFAULT_EXPERIMENT)
            return self._begin(new_id, its_id, run_name or new_run_name(), parent)

        if run_id is not None:
            run = self._take_up(run_id, join, None)
        elif launched is not None:
            run = self._take_up(launched, join, begin)
        else:
            run = begin(new_run_id())
        if fork_from is not None:
            run.set_tags({FORK_RUN_TAG: fork_from, FORK_STEP_TAG: fork_step})
        if description is not None:
            run.set_tag("mlflow.note.content", description)
        if tags:
            run.set_tags(tags)
        self._capture.add_to(run)
        self._sampler.add(run)
        self._running[run.run_id] = run
        self.stack.set((*(r for r in stack if r.run_id != run.run_id), run))
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

    def sync(self) -> bool:
        """Force what this process has logged to disk; False where the disk refuses, and it waits in memory."""
        return self._writer.sync()

    def close(self, status: str = RunStatus.FINISHED) -> None:
        """End the runs that are active, and finish this process's spool."""
        for run in list(self._running.values()):
            run.end(status)
        if self._keeper is not None:
            self._keeper.stop()
            self._keeper = None
        self._sampler.stop()
        self._writer.close()
        atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        self.close(status_at_exit())

    def _make_folder(self) -> None:
        """Make the spool. A place that refuses is an error before a process has logged anything, and never again."""
        if not self._has_folder:
            self.folder.create()
            self._has_folder = True

    def _alive(self) -> tuple[ActiveRun, ...]:
        return tuple(r for r in self.stack.get() if not r.is_ended)

    def _ensure_experiment(self, name: str) -> str:
        if not isinstance(name, str) or not name.strip():
            raise InvalidInputError(f"An experiment's name must be text that isn't empty; got {name!r}.")
        experiment_id = experiment_id_of(name)
        if name not in self._created:
            self._make_folder()
            self._writer.put_rows(
                "experiment_events",
                {"experiment_id": experiment_id, "kind": "created", "actor": self.actor},
                ["name"],
                [[name]],
            )
            self._created.add(name)
        return experiment_id

    def _launched(self) -> str | None:
        """The run that a launcher has chosen, for the first run of the process only."""
        if self._has_launched:
            return None
        self._has_launched = True
        return launched_run_id(self._settings.run_id)

    def _begin(self, run_id: str, experiment_id: str, name: str, parent: str | None) -> ActiveRun:
        self._make_folder()
        now = time.time_ns() // 1000
        info = RunInfo(
            run_id=run_id,
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
            tags |= process_tags()
        run.set_tags(tags)
        return run

    def _take_up(self, run_id: str, join: bool | None, begin: Callable[[str], ActiveRun] | None) -> ActiveRun:
        """Resume a run or join it; begin it where it isn't there and that is allowed."""
        here = self._running.get(run_id)
        if here is not None and not here.is_inherited:
            raise InvalidInputError(f"Run `{run_id}` is active in this process already.")
        self._make_folder()
        if here is not None:
            return self._join(here.info, here.attempt, here.params)
        if join or (join is None and (rank() or 0) > 0):
            waited = await_starter(
                run_id, self._look_up, self.folder.is_writing, timeout_s=self._settings.join_timeout_s
            )
            found = waited or unknown_run(run_id, self.actor)
            return self._join(found.info, found.attempt, found.params)
        # Of several processes that take it up at this moment, the first starts the attempt and the others see it.
        with self.folder.starting():
            try:
                found = self._look_up(run_id)
            except NotFoundError:
                if begin is None:
                    raise
                return begin(run_id)
            if join is None and is_running(found) and self.folder.is_writing(found.starter):
                return self._join(found.info, found.attempt, found.params)
            return self._resume(found)

    def _resume(self, found: FoundRun) -> ActiveRun:
        now = time.time_ns() // 1000
        self._writer.put_rows(
            "run_events",
            {"run_id": found.info.run_id, "attempt": found.attempt + 1, "actor": self.actor},
            ["kind", "status", "heartbeat_due_at"],
            [["resumed", RunStatus.RUNNING, now + self._promise_us()]],
            time_us=now,
        )
        return self._run(running_again(found), attempt=found.attempt + 1, params=found.params)

    def _join(self, info: RunInfo, attempt: int, params: Mapping[str, str]) -> ActiveRun:
        self._writer.put_rows(
            "run_events",
            {"run_id": info.run_id, "attempt": attempt, "actor": self.actor},
            ["kind", "name"],
            [["joined", process_label()]],
        )
        return self._run(info, attempt=attempt, params=params, is_joined=True)

    def _run(self, info: RunInfo, *, attempt: int, params: Mapping[str, str], is_joined: bool = False) -> ActiveRun:
        return ActiveRun(
            info=info,
            attempt=attempt,
            writer=self._writer,
            shelf=self._shelf,
            actor=self.actor,
            params=params,
            on_end=self._ended,
            is_joined=is_joined,
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
                retry_artifacts=self._shelf.retry,
                see_to_committer=self.see_to_committer if self._settings.committer == "auto" else _nothing,
            )
            atexit.register(self._at_exit)

    def see_to_committer(self) -> None:
        """Start a committer unless one is alive; where that fails, say so and go on: the spool keeps everything."""
        self._trouble.look()
        try:
            start_committer(
                self._location.storage.uri,
                self.folder,
                interval_s=self._settings.commit_interval_s,
                idle_s=self._settings.committer_idle_s,
                maintenance=self._settings.maintenance,
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
            # A run is lost with the process that ends it, whoever else lives on.
            if run.is_joined or run.is_inherited:
                continue
            run.heartbeat(HEARTBEATS_TO_MISS * self._settings.heartbeat_s)


def _nothing() -> None:
    """The keeper's duty towards the committer where there shall be none."""
