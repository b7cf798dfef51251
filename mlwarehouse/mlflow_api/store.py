"""What all calls work on: a warehouse, the writing end of its spool, and what is held in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from mlwarehouse.access import MODELS, acting
from mlwarehouse.entities import Experiment, ViewType
from mlwarehouse.errors import InvalidInputError, NotFoundError
from mlwarehouse.ingest.identity import DEFAULT_EXPERIMENT, DEFAULT_EXPERIMENT_ID
from mlwarehouse.mlflow_api.live import FRESH_S, LiveRuns
from mlwarehouse.mlflow_api.recorder import Recorder
from mlwarehouse.mlflow_api.states import RunState, load_state
from mlwarehouse.parts.again import asked_again
from mlwarehouse.query.experiments import get_experiment, get_experiment_by_name

if TYPE_CHECKING:
    from mlwarehouse.engines.base import Engine, Reading
    from mlwarehouse.registry import Registry
    from mlwarehouse.warehouse import Warehouse

T = TypeVar("T")

VIEWS: dict[str, ViewType] = {
    **{view.name: view for view in ViewType},
    **{str(view.value): view for view in ViewType},
}
"""By name, and by the number that protocol buffers give it."""

MOST_KNOWN = 100_000
"""Runs and logged models of which the experiment is remembered."""

LOCATION_TAG = "mlwarehouse.artifactLocation"
"""An experiment's tag that says where clients put its artifacts themselves; it isn't shown among its tags."""


class MlflowStore:
    """A warehouse as MLflow's calls see it. Threads share it; close it when no more calls come.

    Attributes:
        warehouse: The warehouse.
        recorder: Who writes.
        runs: Runs held in memory.
        root: The address under which clients find artifacts.
        changing_experiments: Held while an experiment is made or changed, so that names are given once.
    """

    def __init__(self, warehouse: Warehouse, *, artifact_root: str) -> None:
        """Serve a warehouse, which is made where there is none.

        Args:
            warehouse: The warehouse.
            artifact_root: The address under which clients find artifacts, without a slash behind it.
        """
        self.warehouse = warehouse
        self.recorder = Recorder(warehouse)
        self.runs = LiveRuns(self.recorder, self._load_run)
        self.changing_experiments = threading.RLock()
        self.root = artifact_root
        self._experiments: dict[str, tuple[float, Experiment]] = {}
        self._experiment_of: dict[str, str] = {}
        self._registry_as = lru_cache(maxsize=256)(warehouse.registry_as)
        if self.find_experiment(DEFAULT_EXPERIMENT_ID) is None:
            self.put_experiment(DEFAULT_EXPERIMENT_ID, DEFAULT_EXPERIMENT)

    def ask(self, question: Callable[[Engine, Reading], T]) -> T:
        """Ask the warehouse as it is now, what this machine has logged included."""

        @asked_again
        def asked() -> T:
            return question(self.warehouse.engine(), self.warehouse.reading())

        return asked()

    def query(self, sql: str, parameters: Mapping[str, Any]) -> pa.Table:
        """Answer a ``SELECT`` of our own."""
        return self.ask(lambda engine, reading: engine.query(sql, reading=reading, parameters=parameters))

    def find_experiment(self, experiment_id: str) -> Experiment | None:
        """The experiment of an id, deleted ones included."""
        loaded_at, held = self._experiments.get(experiment_id, (0.0, None))
        if held is not None and time.monotonic() - loaded_at < FRESH_S and not self.recorder.has_others():
            return held
        try:
            found = self.ask(lambda engine, reading: get_experiment(engine, reading, experiment_id))
        except NotFoundError:
            return None
        self._experiments[experiment_id] = (time.monotonic(), found)
        return found

    def experiment(self, experiment_id: str | None) -> Experiment:
        """The experiment of an id, deleted ones included; no id means the default one.

        Raises:
            InvalidInputError: It can't be an id.
            NotFoundError: There is none.
        """
        asked = experiment_id or DEFAULT_EXPERIMENT_ID
        found = self.find_experiment(asked)
        if found is not None:
            return found
        if not asked.lstrip("-").isdecimal():
            raise InvalidInputError(f"Invalid experiment ID '{asked}'. Experiment ID must be a valid integer.")
        raise NotFoundError(f"No Experiment with id={int(asked)} exists")

    def active_experiment(self, experiment_id: str | None) -> Experiment:
        """The experiment of an id.

        Raises:
            InvalidInputError: It can't be an id, or the experiment is deleted.
            NotFoundError: There is none.
        """
        found = self.experiment(experiment_id)
        if found.lifecycle_stage != "active":
            raise InvalidInputError(
                f"The experiment {found.experiment_id} must be in the 'active' state. Current state is "
                f"{found.lifecycle_stage}."
            )
        return found

    def experiment_named(self, name: str) -> Experiment | None:
        """The experiment of a name, deleted ones included."""
        return self.ask(lambda engine, reading: get_experiment_by_name(engine, reading, name))

    def put_experiment(self, experiment_id: str, name: str) -> None:
        """Write that an experiment is made."""
        self.put_change(experiment_id, "created", name=name)

    def put_change(self, experiment_id: str, kind: str, **values: str | None) -> None:
        """Write a change of an experiment; see the table `experiment_events`."""
        self.recorder.put_event(
            "experiment_events",
            {"experiment_id": experiment_id, "kind": kind, "actor": self.recorder.actor, **values},
        )
        self._experiments.pop(experiment_id, None)

    def artifact_root(self, experiment_id: str) -> str:
        """Where the artifacts of an experiment's runs are: its own place, or one below the store's."""
        found = self.find_experiment(experiment_id)
        own = None if found is None else found.tags.get(LOCATION_TAG)
        return own or f"{self.root}/{experiment_id}"

    def experiment_of_run(self, run_id: str) -> str:
        """The id of a run's experiment, which never changes.

        Raises:
            NotFoundError: There is no such run.
        """

        def find() -> str:
            with self.runs.reading(run_id) as state:
                return state.experiment_id

        return self.remembered(run_id, find)

    def remembered(self, of: str, find: Callable[[], str]) -> str:
        """The experiment of a run or a logged model, by its id; looked for once."""
        found = self._experiment_of.get(of)
        if found is None:
            found = find()
            if len(self._experiment_of) >= MOST_KNOWN:
                self._experiment_of.clear()
            self._experiment_of[of] = found
        return found

    def registry(self, name: str) -> Registry:
        """The registry, in the name of whoever asks, with the roles that they have on a registered model."""
        who = acting()
        if who is None:
            return self.warehouse.registry
        return self._registry_as(who.name, tuple(sorted(who.roles(MODELS + name))))

    def close(self) -> None:
        """Finish what was written, and let go of the warehouse."""
        self.recorder.close()
        self.warehouse.close()

    def _load_run(self, run_id: str) -> RunState | None:
        return self.ask(lambda engine, reading: load_state(engine, reading, run_id))
