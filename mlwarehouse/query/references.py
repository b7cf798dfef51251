"""What a question refers to: each metric, param or tag becomes one joined column, each value one parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from mlwarehouse.query.fields import AT_STEP, ATTRIBUTES_BY_NAME, NUMBER, Kind
from mlwarehouse.query.names import Name

JOINED_KINDS: tuple[Kind, ...] = ("metric", "param", "tag")


CHOSEN = "chosen"
"""The name of what is chosen first."""


@dataclass
class Reference:
    """One metric, param or tag that a question refers to.

    Attributes:
        kind: Its namespace.
        key: The metric's series, or the param's or tag's key.
        alias: The name of its join.
        columns: Columns of the view that are needed.
        must_exist: Whether a key that no run has is a mistake; a question whether it is there isn't one.
        is_required: Whether only runs that have it are looked for, so that it is among what is chosen first.
        step: The step at which a metric's value is wanted; None for its summary.
    """

    kind: Kind
    key: str
    alias: str
    columns: set[str] = field(default_factory=set)
    must_exist: bool = False
    is_required: bool = False
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

    def require(self, condition: exp.Expr) -> bool:
        """Whether a condition is about nothing but metrics, params and tags that a run must have for it to hold.

        Those are required from then on.
        """
        # Each of these is unknown, and so is its NOT, where what it is about isn't there.
        if list(condition.find_all(exp.Or, exp.Is, exp.Case, exp.Coalesce, exp.Query)):
            return False
        if any(isinstance(n.this.unnest(), exp.And | exp.Between) for n in condition.find_all(exp.Not)):
            return False
        # Points at a step go by the runs' ids, not by their numbers.
        by_alias = {r.alias: r for r in self.by_name.values() if r.step is None}
        tables = {c.table for c in condition.find_all(exp.Column)}
        if not tables or not tables <= by_alias.keys():
            return False
        for table in tables:
            by_alias[table].is_required = True
        return True

    def placed(self, tree: exp.Expr) -> exp.Expr:
        """A condition or a term with the names that columns have outside of what is chosen first."""
        required = {r.alias for r in self.by_name.values() if r.is_required}
        copied = tree.copy()
        for column in list(copied.find_all(exp.Column)):
            if column.table in required:
                column.set("this", exp.to_identifier(f"{column.table}_{column.name}"))
                column.set("table", exp.to_identifier(CHOSEN))
        return copied

    def joins(self) -> list[str]:
        """The joins to `runs` that the references need beside what is chosen first, in SQL."""
        return [
            f"LEFT JOIN ({self._source(r)}) AS {r.alias} ON {r.alias}.number = "
            f"runs.{'number' if r.step is None else 'run_id'}"
            for r in list(self.by_name.values())
            if not r.is_required
        ]

    def choice(self, conditions: Sequence[str]) -> str:
        """The query that chooses runs by what is required of them, in SQL.

        Args:
            conditions: What must hold.
        """
        required = [r for r in self.by_name.values() if r.is_required]
        first = required[0].alias
        columns = [f"{r.alias}.{column} AS {r.alias}_{column}" for r in required for column in sorted(r.columns)]
        sources = [f"({self._source(r)}) AS {r.alias}" for r in required]
        joins = [f"INNER JOIN {s} ON {r.alias}.number = {first}.number" for r, s in zip(required, sources, strict=True)]
        return (
            f"SELECT {', '.join([f'{first}.number', *columns])} FROM {' '.join([sources[0], *joins[1:]])} "
            f"WHERE {' AND '.join(conditions)}"
        )

    def _source(self, reference: Reference) -> str:
        columns = ", ".join(["number", *sorted(reference.columns)])
        if reference.step is not None:
            return self.points_at_step([reference.key], reference.step)
        if reference.kind == "metric":
            return f"SELECT {columns} FROM numbered_metric_summaries WHERE {self.series_condition([reference.key])}"
        return f"SELECT {columns} FROM numbered_{reference.kind}s WHERE key = {self.mark(reference.key)}"

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


class Constants(References):
    """Writes values into the text: without parameters DuckDB hands millions of rows over in half the time."""

    def bind(self, value: object) -> exp.Expr:
        """A text or whole number as a node."""
        if isinstance(value, str):
            return exp.Literal.string(value)
        assert isinstance(value, int)
        return exp.convert(value)

    def mark(self, value: object) -> str:
        """A text or whole number, as text."""
        return self.bind(value).sql(dialect="duckdb")


def keys_of_series(series: str) -> list[str]:
    """The metric keys that a series can belong to.

    A series is a key, or key, space and context; the context is a JSON object, so each `` {`` may be where it begins.
    """
    starts = [i for i in range(len(series)) if series.startswith(" {", i)]
    return [series, *(series[:i] for i in starts)]
