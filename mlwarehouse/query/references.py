"""What a question refers to: each metric, param or tag becomes one joined column, each value one parameter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from mlwarehouse.query.fields import AT_STEP, ATTRIBUTES_BY_NAME, NUMBER, Kind
from mlwarehouse.query.names import Name

JOINED_KINDS: tuple[Kind, ...] = ("metric", "param", "tag")


@dataclass
class Reference:
    """One metric, param or tag that a question refers to.

    Attributes:
        kind: Its namespace.
        key: The metric's series, or the param's or tag's key.
        alias: The name of its join.
        columns: Columns of the view that are needed.
        must_exist: Whether a key that no run has is a mistake; a question whether it is there isn't one.
        step: The step at which a metric's value is wanted; None for its summary.
    """

    kind: Kind
    key: str
    alias: str
    columns: set[str] = field(default_factory=set)
    must_exist: bool = False
    step: int | None = None


SERIES = "CASE WHEN context IS NULL THEN key ELSE key || ' ' || context END"
"""A series, over `metrics`, which has no column of that name."""


class References:
    """Collects the references and parameters of one question while its parts are turned into SQL."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.parameters: dict[str, Any] = {}
        self.by_name: dict[tuple[Kind, str, int | None], Reference] = {}

    def bind(self, value: object) -> exp.Expr:
        """A parameter mark for a value, as a node."""
        return exp.Placeholder(this=self.mark(value).removeprefix("$"))

    def mark(self, value: object) -> str:
        """A parameter mark for a value, as text."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def column(self, name: Name, *, as_number: bool = False, must_exist: bool = True) -> exp.Expr:
        """The SQL for a name.

        Args:
            name: A metric, param, tag or attribute.
            as_number: Whether a param's or tag's text is wanted as a number.
            must_exist: See `Reference`.
        """
        if name.kind == "attribute":
            return exp.maybe_parse(ATTRIBUTES_BY_NAME[name.key].sql, dialect="duckdb")
        as_number = as_number or name.stat == NUMBER
        reference = self.by_name.get((name.kind, name.key, name.step))
        if reference is None:
            reference = Reference(name.kind, name.key, f"{name.kind}_{len(self.by_name)}", step=name.step)
            self.by_name[name.kind, name.key, name.step] = reference
        reference.must_exist = reference.must_exist or must_exist
        column = {"metric": name.stat, "param": "value_number" if as_number else "value"}.get(name.kind, "value")
        reference.columns.add(column)
        result = exp.column(column, table=reference.alias)
        if as_number and name.kind == "tag":
            return exp.TryCast(this=result, to=exp.DataType.build("double"))
        return result

    def joins(self) -> list[str]:
        """The joins to `runs` that the references need, in SQL."""
        return [self._join(reference) for reference in list(self.by_name.values())]

    def _join(self, reference: Reference) -> str:
        columns = ", ".join(["number", *sorted(reference.columns)])
        if reference.step is not None:
            source = self.points_at_step([reference.key], reference.step)
            return f"LEFT JOIN ({source}) AS {reference.alias} ON {reference.alias}.number = runs.run_id"
        if reference.kind == "metric":
            source = f"SELECT {columns} FROM numbered_metric_summaries WHERE {self.series_condition([reference.key])}"
        else:
            mark = self.mark(reference.key)
            source = f"SELECT {columns} FROM numbered_{reference.kind}s WHERE key = {mark}"
        return f"LEFT JOIN ({source}) AS {reference.alias} ON {reference.alias}.number = runs.number"

    def points_at_step(self, series: list[str], step: int, *, where: str = "TRUE") -> str:
        """A query for the values that runs have in some series at a step, the latest of several.

        Its columns: ``number`` (here always the run's id), ``series`` and ``at_step``.
        """
        condition = f"{self.series_condition(series, column=SERIES)} AND step = {self.mark(step)} AND {where}"
        return (
            f"SELECT run_id AS number, series, point.value AS {AT_STEP} FROM ("
            f"SELECT run_id, {SERIES} AS series, MAX({{'event_at': event_at, 'value': value}}) AS point "
            f"FROM metrics WHERE {condition} GROUP BY run_id, {SERIES}) AS points"
        )

    def series_condition(self, series: list[str], *, column: str = "series") -> str:
        """SQL over `metric_summaries` that holds for some series, and of which the scan sees the keys."""
        keys = dict.fromkeys(key for one in series for key in keys_of_series(one))
        key_marks = ", ".join(self.mark(key) for key in keys)
        marks = ", ".join(self.mark(one) for one in series)
        return f"key IN ({key_marks}) AND {column} IN ({marks})"


def keys_of_series(series: str) -> list[str]:
    """The metric keys that a series can belong to.

    A series is a key, or key, space and context; the context is a JSON object, so each `` {`` may be where it begins.
    """
    starts = [i for i in range(len(series)) if series.startswith(" {", i)]
    return [series, *(series[:i] for i in starts)]
