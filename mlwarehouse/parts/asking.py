"""The part of a warehouse that answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlwarehouse.entities import Experiment, Run, Snapshot, ViewType
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.parts.again import asked_again
from mlwarehouse.parts.base import Base
from mlwarehouse.parts.engines import means_spark

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession

    from mlwarehouse.engines.running import Cancel


class Asking(Base):
    """Questions over runs, metrics and everything else, as frames and SQL."""

    @asked_again
    def search_runs(
        self,
        experiment_ids: Sequence[str] | None = None,
        filter_string: str = "",
        run_view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int = 100_000,
        order_by: Sequence[str] | None = None,
        output_format: str = "pandas",
        search_all_experiments: bool = False,
        experiment_names: Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        as_of: Any = None,
        at: Snapshot | str | None = None,
    ) -> Any:
        """Find runs; the arguments and the frame are those of ``mlflow.search_runs``.

        Args:
            experiment_ids: Experiments by id; an empty list finds nothing.
            filter_string: A filter such as ``metrics.loss < 0.4 AND (params.lr < 0.01 OR tags.team = 'nlp')``.
            run_view_type: Active runs, deleted ones, or all.
            max_results: The most runs to return.
            order_by: Orders such as ``["metrics.loss ASC"]``; then by start time, newest first.
            output_format: ``pandas``, ``arrow``, ``polars``, ``spark`` for a Spark `DataFrame`, or ``list`` of `Run`.
            search_all_experiments: Look at all experiments, also when `set_experiment` has chosen one.
            experiment_names: Experiments by name.
            columns: Only these columns.
            as_of: Only what was recorded by then, see `reading`.
            at: A snapshot, its text, or the name of a kept one.

        Returns:
            A row a run. Columns: ``run_id``, ``experiment_id``, ``status``, ``artifact_uri`` (text), ``start_time``,
            ``end_time`` (UTC), then ``metrics.<key>`` (the latest value, float64), ``params.<key>`` and ``tags.<key>``
            (text, None where a run has none). Without an experiment named or chosen, runs of all experiments.

        Raises:
            FilterError: A filter or order that can't be understood; it says what would be right.
            NotFoundError: No such experiment.
            WarehouseNotFoundError: No warehouse.
        """
        from mlwarehouse.query import FRAME_FORMATS, check_format, search_runs

        check_format(output_format, (*FRAME_FORMATS, "list", "spark"))
        logger = getattr(self, "recorder", None)
        is_open = experiment_ids is None and experiment_names is None and not search_all_experiments
        if is_open and logger is not None and logger.experiment:
            experiment_names = [logger.experiment]
        found = search_runs(
            self.engine(),
            self.reading(as_of=as_of, at=at),
            experiment_ids=experiment_ids,
            filter_string=filter_string,
            run_view_type=run_view_type,
            max_results=max_results,
            order_by=order_by,
            output_format="arrow" if output_format == "spark" else output_format,
            search_all_experiments=search_all_experiments,
            experiment_names=experiment_names,
            columns=columns,
        )
        if output_format != "spark":
            return found
        from mlwarehouse.engines.spark import frame_of

        return frame_of(self.spark_session(), found)

    @asked_again
    def sql(
        self,
        query: str,
        *,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        dialect: str = "duckdb",
        output_format: str = "pandas",
        as_of: Any = None,
        at: Snapshot | str | None = None,
        engine: str | SparkSession = "embedded",
        progress: bool | Callable[[float], None] = False,
        timeout_s: float | None = None,
        cancel: Cancel | None = None,
    ) -> Any:
        """Answer one ``SELECT`` over the tables and views.

        Ctrl-C ends it at once, and the next question is answered.

        Args:
            query: The question; names of tables, views and columns as in the docs.
            parameters: Values for the marks: by name for ``$name`` and what other dialects have for it, or a list for
                marks by position, such as ``?``.
            dialect: The SQL dialect it is written in, by sqlglot's name: ``postgres``, ``tsql``, ``spark``, …
            output_format: ``pandas``, ``arrow``, ``polars``, ``batches`` for a `pyarrow.RecordBatchReader` that reads
                on as the answer is used, or ``spark`` for a Spark `DataFrame` that is computed when it is used.
            as_of: Only what was recorded by then, see `reading`.
            at: A snapshot, its text, or the name of a kept one.
            engine: Who answers: ``embedded``, ``spark``, or a Spark session.
            progress: True shows a bar on a terminal; a function is called with the share that is done, from 0 to 1.
            timeout_s: The longest that it may take, in seconds; of ``batches``, to the next batch.
            cancel: Ends it from another thread.

        Returns:
            The rows.

        Raises:
            SqlError: It doesn't parse, isn't a ``SELECT``, names something that isn't there, can't be translated, or
                failed; the message has the line and column.
            QueryCancelledError: The time was over, or it was cancelled.
            InvalidInputError: An unknown format or engine.
        """
        from mlwarehouse.engines.running import Watch
        from mlwarehouse.query import SQL_FORMATS, check_format, sql
        from mlwarehouse.query.progress import shown

        check_format(output_format, (*SQL_FORMATS, "spark"))
        reading = self.reading(as_of=as_of, at=at)
        if output_format == "spark":
            if progress or timeout_s is not None or cancel is not None:
                raise InvalidInputError(
                    "A frame of Spark is computed when it is used; `progress`, `timeout_s` and `cancel` are of no use."
                )
            from mlwarehouse.query import spark_frame

            session = self.spark_session(engine if means_spark(engine) else "spark")
            return spark_frame(self.engine_of(session), reading, query, dialect=dialect, parameters=parameters)
        asked = self.engine_named(engine)
        with shown(progress) as call:
            return sql(
                asked,
                reading,
                query,
                dialect=dialect,
                parameters=parameters,
                output_format=output_format,
                watch=Watch(call, timeout_s, cancel),
            )

    @asked_again
    def metric_history(
        self,
        run_ids: Sequence[str] | None = None,
        keys: Sequence[str] | None = None,
        *,
        experiment_names: Sequence[str] | None = None,
        attempts: str = "all",
        with_parents: bool = False,
        as_of: Any = None,
        at: Snapshot | str | None = None,
    ) -> pd.DataFrame:
        """Every metric point, in one frame.

        Args:
            run_ids: Only of these runs.
            keys: Only these metrics.
            experiment_names: Only of runs in these experiments.
            attempts: ``all`` points of resumed runs; or ``last``: without those that a later attempt has gone over
                again, from its first step on.
            with_parents: Whether the curves of a forked run begin with those of the run it was forked from.
            as_of: Only what was recorded by then, see `reading`.
            at: A snapshot, its text, or the name of a kept one.

        Returns:
            A row a point, by run, key, step and time. Columns: ``run_id``, ``key`` (text), ``step`` (int64), ``value``
            (float64), ``timestamp`` (UTC), ``context`` (JSON text or None), ``attempt`` (int32); with parents also
            ``source_run_id`` (text), the run that logged it.

        Raises:
            NotFoundError: No such run, metric or experiment.
            InvalidInputError: `attempts` isn't ``all`` or ``last``.
        """
        from mlwarehouse.query import metric_history, resolve_experiments

        engine, reading = self.engine(), self.reading(as_of=as_of, at=at)
        ids = resolve_experiments(engine, reading, experiment_ids=None, experiment_names=experiment_names)
        frame: pd.DataFrame = metric_history(
            engine,
            reading,
            run_ids=run_ids,
            keys=keys,
            experiment_ids=ids,
            attempts=attempts,
            with_parents=with_parents,
        )
        return frame

    @asked_again
    def get_run(self, run_id: str, *, as_of: Any = None, at: Snapshot | str | None = None) -> Run:
        """One run with its latest metrics, params and tags.

        Args:
            run_id: Its id.
            as_of: Only what was recorded by then, see `reading`.
            at: A snapshot, its text, or the name of a kept one.

        Raises:
            NotFoundError: There is no such run.
        """
        from mlwarehouse.query import get_run

        return get_run(self.engine(), self.reading(as_of=as_of, at=at), run_id)

    @asked_again
    def get_experiment_by_name(
        self, name: str, *, as_of: Any = None, at: Snapshot | str | None = None
    ) -> Experiment | None:
        """The experiment of a name, or None as in MLflow; an active one goes before a deleted one of the same name.

        Args:
            name: Its name.
            as_of: Only what was recorded by then, see `reading`.
            at: A snapshot, its text, or the name of a kept one.
        """
        from mlwarehouse.query import get_experiment_by_name

        return get_experiment_by_name(self.engine(), self.reading(as_of=as_of, at=at), name)

    @asked_again
    def search_experiments(self, *, as_of: Any = None, at: Snapshot | str | None = None) -> list[Experiment]:
        """All experiments that aren't deleted, newest first.

        Args:
            as_of: Only what was recorded by then, see `reading`.
            at: A snapshot, its text, or the name of a kept one.
        """
        from mlwarehouse.query import list_experiments

        return list_experiments(self.engine(), self.reading(as_of=as_of, at=at))
