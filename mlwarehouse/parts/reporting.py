"""The part of a warehouse that reports: questions that come with the package."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from mlwarehouse.entities import Snapshot
from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.parts.base import Base, moment
from mlwarehouse.tables.reports import ReportSpec, all_reports

if TYPE_CHECKING:
    from mlwarehouse.engines.base import Engine

ENGINES: tuple[str, ...] = ("embedded", "spark")


class Reporting(Base):
    """Reports: what leaders and BI tools ask, by name and with parameters."""

    def report(
        self,
        name: str,
        *,
        as_of: Any = None,
        at: Snapshot | str | None = None,
        output_format: str = "pandas",
        engine: str = "embedded",
        spark: Any = None,
        **parameters: Any,
    ) -> Any:
        """Answer one of the reports that come with the package; the docs' page of reports has them all.

        Args:
            name: The report, such as ``seeds``.
            as_of: Only what was recorded by then, see `reading`.
            at: A pin from `snapshot`.
            output_format: ``pandas``, ``arrow`` or ``polars``.
            engine: What answers: ``embedded``, within this process, or ``spark``, for big warehouses.
            spark: With ``engine="spark"``, the session; None starts one on this machine.
            **parameters: The report's parameters, such as ``metric="val/loss"``; None means the default.

        Returns:
            The report's rows, in the columns and the order that the docs say.

        Raises:
            NotFoundError: No such report, experiment or metric; it says what is there.
            InvalidInputError: A parameter that the report hasn't, that it needs, or whose value can't be meant.
            MissingDependencyError: Spark was asked for and isn't there.
        """
        from mlwarehouse.query.reports import find_report, report

        find_report(name)
        return report(
            self.engine(),
            self.reading(as_of=as_of, at=at),
            name,
            parameters,
            now=self._now(as_of, at),
            read_time=moment,
            output_format=output_format,
            answering=self._engine_named(engine, spark),
        )

    def reports(self) -> tuple[ReportSpec, ...]:
        """The reports that there are, each with its purpose, grain, parameters and columns."""
        return all_reports()

    def _now(self, as_of: Any, at: Snapshot | str | None) -> dt.datetime:
        if as_of is not None:
            return moment(as_of)
        if at is not None:
            return dt.datetime.fromtimestamp(self.find_snapshot(at).taken_at / 1000, dt.UTC)
        return dt.datetime.now(dt.UTC)

    def _engine_named(self, name: str, session: Any) -> Engine:
        if name not in ENGINES:
            raise InvalidInputError(f"The engine is `embedded` or `spark`; got `{name}`.{did_you_mean(name, ENGINES)}")
        if name == "embedded":
            return self.engine()
        from mlwarehouse.engines.spark import SparkEngine
        from mlwarehouse.engines.spark_session import build_session

        tables = self.tables_for_spark()
        return SparkEngine(session or build_session(settings=self.settings), tables)
