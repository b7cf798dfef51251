"""The part of a warehouse that reports: questions that come with the package."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from mlwarehouse.entities import Snapshot
from mlwarehouse.parts.again import asked_again
from mlwarehouse.parts.base import Base, moment
from mlwarehouse.tables.reports import ReportSpec, all_reports

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Reporting(Base):
    """Reports: what leaders and BI tools ask, by name and with parameters."""

    @asked_again
    def report(
        self,
        name: str,
        *,
        as_of: Any = None,
        at: Snapshot | str | None = None,
        output_format: str = "pandas",
        engine: str | SparkSession = "embedded",
        **parameters: Any,
    ) -> Any:
        """Answer one of the reports that come with the package; the docs' page of reports has them all.

        Args:
            name: The report, such as ``seeds``.
            as_of: Only what was recorded by then, see `reading`.
            at: A snapshot, its text, or the name of a kept one.
            output_format: ``pandas``, ``arrow`` or ``polars``.
            engine: Who answers: ``embedded``, or for big warehouses ``spark`` or a Spark session.
            **parameters: The report's parameters, such as ``metric="val/loss"``; None means the default.

        Returns:
            The report's rows, in the columns and the order that the docs say.

        Raises:
            NotFoundError: No such report, experiment or metric; it says what is there.
            InvalidInputError: A parameter that the report hasn't, that it needs, or whose value can't be meant; or no
                such engine.
            MissingDependencyError: Spark was asked for and isn't there.
        """
        from mlwarehouse.query.reports import find_report, report

        find_report(name)
        reading = self.reading(as_of=as_of, at=at)
        return report(
            self.engine(),
            reading,
            name,
            parameters,
            now=reading.now or dt.datetime.now(dt.UTC) if as_of is None else moment(as_of),
            read_time=moment,
            output_format=output_format,
            answering=self.engine_named(engine),
        )

    def reports(self) -> tuple[ReportSpec, ...]:
        """The reports that there are, each with its purpose, grain, parameters and columns."""
        return all_reports()
