"""The part of a warehouse that logs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlwarehouse.entities import RunStatus
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.parts.base import Base

if TYPE_CHECKING:
    from mlwarehouse.ingest.logger import Logger, ResumedRun
    from mlwarehouse.ingest.run import ActiveRun


class Recording(Base):
    """Runs: starting, resuming, ending. The run's own methods log.

    Attributes:
        recorder: This process's logger, once something has been logged; `logger` makes it.
    """

    recorder: Logger | None = None
    _logger_lock = threading.Lock()

    def logger(self) -> Logger:
        """This process's logger for the warehouse; the warehouse is made where there is none."""
        if self.recorder is None:
            from mlwarehouse.ingest.logger import Logger

            with self._logger_lock:
                if self.recorder is None:
                    self.recorder = Logger(
                        self.place(create=True),
                        self.settings,
                        artifacts=self.artifact_store(),
                        look_up=self._look_up_run,
                    )
        return self.recorder

    def set_experiment(self, name: str) -> str:
        """Choose the experiment of the runs that follow; it is made where there is none.

        Returns:
            Its id. (An experiment that got this name under another id, by an import say, keeps its own.)
        """
        return self.logger().set_experiment(name)

    def start_run(
        self,
        run_id: str | None = None,
        experiment_id: str | None = None,
        run_name: str | None = None,
        nested: bool = False,
        parent_run_id: str | None = None,
        tags: Mapping[str, Any] | None = None,
        description: str | None = None,
        *,
        experiment: str | None = None,
    ) -> ActiveRun:
        """Start a run, or resume one. Use it as a context manager, or end it by `end_run`.

        Args:
            run_id: Resume this run: its status becomes RUNNING again and its attempt grows by one.
            experiment_id: The experiment by id; without it, and without `experiment`, the one that `set_experiment`
                chose, or ``Default``.
            run_name: A name; None makes one up.
            nested: Start it inside the active run, as its child.
            parent_run_id: The run to nest it in.
            tags: Tags to set.
            description: Markdown, kept as the tag ``mlflow.note.content``.
            experiment: The experiment by name; made where there is none.

        Returns:
            The run, active in this context.

        Raises:
            InvalidInputError: Another run is active and `nested` isn't given.
            NotFoundError: There is no run `run_id`.
            NotAWarehouseError: The warehouse's folder holds something else.
            StorageError: Nothing can be written there.
        """
        return self.logger().start_run(
            run_id=run_id,
            experiment_id=experiment_id,
            run_name=run_name,
            nested=nested,
            parent_run_id=parent_run_id,
            tags=tags,
            description=description,
            experiment=experiment,
        )

    def need_active_run(self) -> ActiveRun:
        """The run that this context logs to.

        Raises:
            InvalidInputError: There is none, or several and this thread started none of them.
        """
        if self.recorder is None:
            # Nothing was logged yet, and asking for a run must not make a warehouse.
            from mlwarehouse.ingest.logger import NO_RUN

            raise InvalidInputError(NO_RUN)
        return self.recorder.need_active_run()

    def active_run(self) -> ActiveRun | None:
        """The run that this context logs to, or None."""
        return None if self.recorder is None else self.recorder.active_run()

    def end_run(self, status: str = RunStatus.FINISHED) -> None:
        """End this context's run, if there is one."""
        if self.recorder is not None:
            self.recorder.end_run(status)

    def close(self) -> None:
        """End the active runs, finish this process's spool, and let go of the engine."""
        if self.recorder is not None:
            self.recorder.close()
            self.recorder = None
        super().close()

    def _look_up_run(self, run_id: str) -> ResumedRun:
        from mlwarehouse.ingest.logger import ResumedRun
        from mlwarehouse.query import get_run

        reading = self.reading()
        engine = self.engine()
        run = get_run(engine, reading, run_id)
        rows = engine.query(
            "SELECT attempt FROM runs WHERE run_id = $run_id", reading=reading, parameters={"run_id": run_id}
        )
        return ResumedRun(info=run.info, attempt=rows.column("attempt")[0].as_py(), params=run.data.params)
