"""The part of a warehouse that logs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlwarehouse.entities import RunStatus
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.parts.base import Base

if TYPE_CHECKING:
    from mlwarehouse.ingest.joining import FoundRun
    from mlwarehouse.ingest.logger import Logger
    from mlwarehouse.ingest.run import ActiveRun


@dataclass(frozen=True)
class BulkLogged:
    """What `bulk_log_metrics` did.

    Attributes:
        source_id: What the points were logged as.
        n_points: Points added; 0 when they were there already.
        is_new: False when points had been logged under this source id before, so that nothing was added.
    """

    source_id: str
    n_points: int
    is_new: bool


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
        join: bool | None = None,
        fork_from: str | None = None,
        fork_step: int | None = None,
    ) -> ActiveRun:
        """Start a run, resume one, or join one. Use it as a context manager, or end it by `end_run`.

        Args:
            run_id: Resume this run: its status becomes RUNNING again and its attempt grows by one; or join it, see
                `join`. None means a new run, unless a launcher has set MLWAREHOUSE_RUN_ID: then the first call of a
                process goes on with that run, or makes it under this id where there is none.
            experiment_id: The experiment by id; without it, and without `experiment`, the one that `set_experiment`
                chose, or ``Default``.
            run_name: A name; None makes one up.
            nested: Start it inside the active run, as its child.
            parent_run_id: The run to nest it in.
            tags: Tags to set.
            description: Markdown, kept as the tag ``mlflow.note.content``.
            experiment: The experiment by name; made where there is none.
            join: Whether to log to the attempt that another process has started and will end, rather than to start the
                next one. None joins where this process's rank (RANK and the like) isn't 0, and where a living process
                of this machine runs the attempt.
            fork_from: Start a new run that continues this one, in its experiment unless another is named. Nothing is
                copied: `metric_history` with ``with_parents=True`` begins the new run's curves with those of this one.
            fork_step: The last step that it continues.

        Returns:
            The run, active in this context.

        Raises:
            InvalidInputError: Another run is active and `nested` isn't given; or a fork without a step.
            NotFoundError: There is no run `run_id`, or none to fork.
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
            join=join,
            fork_from=fork_from,
            fork_step=fork_step,
        )

    def bulk_log_metrics(
        self, points: Any, *, source_id: str, run_id: str | None = None, key: str | None = None
    ) -> BulkLogged:
        """Log many metric points of runs at once: one commit, past the spool, all of them or none.

        Args:
            points: An Arrow, pandas or Polars table, or arrays by column name. Columns: ``run_id``, ``key`` (text),
                ``step`` (whole numbers), ``value`` (numbers; NaN is a value), and where wanted ``timestamp`` (times, or
                milliseconds since the epoch; else now), ``context`` (JSON objects as text, or null) and ``attempt``
                (whole numbers; else each run's current one).
            source_id: Names these points, such as the file that they come from: under one id points are logged once.
            run_id: The run of all points, in place of the column.
            key: The metric of all points, in place of the column.

        Returns:
            What was done; ``is_new`` is False when the source id was there, and then nothing was added.

        Raises:
            InvalidInputError: A column is missing, unknown, of the wrong type, or lacks values; nothing was added.
            NotFoundError: There is no such run; nothing was added.
            StorageError: The commit failed; nothing was added.
            WarehouseNotFoundError: There is no warehouse.
        """
        from mlwarehouse.engines.base import Txn
        from mlwarehouse.ingest.bulk import metric_rows
        from mlwarehouse.tables import METRICS

        if not isinstance(source_id, str) or not source_id.strip():
            raise InvalidInputError(f"A source id must be text that isn't empty; got {source_id!r}.")
        engine = self.engine()
        txn = Txn(f"bulk:{source_id}", 1)
        if engine.has_applied(METRICS, [txn]):
            return BulkLogged(source_id, 0, is_new=False)
        rows = metric_rows(
            points,
            run_id=run_id,
            key=key,
            writer_id=txn.app_id,
            recorded_at=time.time_ns() // 1000,
            attempts_of=self._attempts_of,
        )
        done = engine.append(METRICS, rows, txns=[txn])
        return BulkLogged(source_id, done.n_rows, is_new=done.applied)

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

    def _attempts_of(self, run_ids: Sequence[str]) -> dict[str, int]:
        from mlwarehouse.query import get_run

        reading = self.reading()
        rows = self.engine().query(
            "SELECT run_id, attempt FROM runs WHERE list_contains($run_ids, run_id)",
            reading=reading,
            parameters={"run_ids": list(run_ids)},
        )
        attempts = dict(zip(rows.column("run_id").to_pylist(), rows.column("attempt").to_pylist(), strict=True))
        for run_id in run_ids:
            if run_id not in attempts:
                # Raises, and knows which runs have names like it.
                get_run(self.engine(), reading, run_id)
        return attempts

    def _look_up_run(self, run_id: str) -> FoundRun:
        from mlwarehouse.ingest.joining import FoundRun
        from mlwarehouse.query import get_run

        reading = self.reading()
        engine = self.engine()
        run = get_run(engine, reading, run_id)
        (last,) = engine.query(_LAST_ATTEMPT, reading=reading, parameters={"run_id": run_id}).to_pylist()
        return FoundRun(
            info=run.info,
            attempt=last["attempt"],
            params=run.data.params,
            starter=last["starter"],
            seen_at=int(last["seen_at"].timestamp() * 1e6),
        )


_LAST_ATTEMPT = """
    SELECT
        MAX(attempt) AS attempt,
        ARG_MIN(writer_id, {'later': -1 - attempt, 'recorded_at': recorded_at, 'writer_id': writer_id}) FILTER (
            WHERE kind IN ('started', 'resumed')
        ) AS starter,
        ARG_MAX(event_at, {'attempt': attempt, 'event_at': event_at}) AS seen_at
    FROM run_events
    WHERE run_id = $run_id AND kind IN ('started', 'resumed', 'heartbeat')"""
"""The newest attempt of a run: who started it first, and when it last gave a sign of life."""
