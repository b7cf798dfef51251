"""The reports: questions that come with the package, asked by name.

A report is a view of `REPORTS`, or a question with parameters, which stands in a file of ``sql/parametric``. Its header
is that of a view, with a line for each parameter::

    -- parameter metric metric: The metric: its key, or key, a space and the context.
    -- parameter direction min|max = min: `min` where lower is better, `max` where higher is.

that is its name, its type, its default (without one a value must be given) and its text. ``$direction`` then stands
for the value. Types are the entries of `TYPES`, or words with bars between them, of which one is meant. A new report is
one new file and one entry in `PARAMETRIC`.

What several reports begin with is a file of ``sql/parametric/parts`` and an entry in `PARTS`. A report that names it
among what it depends on reads it like a view; it has that report's parameters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

from mlwarehouse.tables.views import REPORTS, ViewSpec, parse_view, view

PARAMETRIC: tuple[str, ...] = (
    "progress",
    "throughput",
    "seeds",
    "sweep_trials",
    "sweeps",
    "importance",
    "importance_inputs",
    "cost",
    "stage_funnel",
    "model_freshness",
    "changes",
    "regression_quality",
    "classification_quality",
    "calibration",
    "error_by_slice",
    "drift",
)
"""The reports that take parameters."""

PARTS: tuple[str, ...] = ("chosen_runs", "measured", "valued_params", "trials", "rated", "classified", "compared")
"""Questions that several reports begin with, each after those it depends on."""

TYPES: dict[str, str] = {
    "metric": "A metric that a run has, as in the column `series` of `metric_summaries`.",
    "experiments": "Names of experiments; one name is a list of one.",
    "texts": "Texts; one text is a list of one.",
    "dataset": "A name under which rows were scored.",
    "datasets": "Such names; one name is a list of one.",
    "scoring_models": "Registered models that have scored rows; one name is a list of one.",
    "features": "Outputs, and inputs whose values were kept; one name is a list of one.",
    "count": "A whole number from 1 on.",
    "number": "A finite number.",
    "time": "A time, as for `as_of`: a datetime, a date, or ISO text; without a zone it is UTC.",
}
"""What a parameter can be."""

LISTS: frozenset[str] = frozenset({"texts", "experiments", "datasets", "scoring_models", "features"})
"""Types of which a parameter may have several values."""

DEFAULTS_OF_NOTHING: dict[str, str] = {
    "all": "no restriction",
    "none": "nothing",
    "now": "the moment that the question looks at: that of `as_of` or of the snapshot, else the present",
}
"""Defaults that aren't values, and what each stands for."""

_PARAMETER = re.compile(r"-- parameter (?P<name>\w+) (?P<type>[\w|]+)(?: = (?P<default>[^:]*))?: (?P<doc>.+)")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a report.

    Attributes:
        name: Its name, as in ``report("seeds", metric=…)``.
        type: An entry of `TYPES`, or the words of which one is meant, with bars between them.
        default: The default as text, an entry of `DEFAULTS_OF_NOTHING` among others; None when a value must be given.
        doc: What it does.
    """

    name: str
    type: str
    default: str | None
    doc: str

    @property
    def choices(self) -> tuple[str, ...]:
        """The words of which one is meant; empty for other types."""
        return tuple(self.type.split("|")) if "|" in self.type else ()


@dataclass(frozen=True)
class ReportSpec:
    """One report.

    Attributes:
        name: Its name.
        purpose: What it answers.
        grain: What one row stands for.
        parameters: What can be asked of it.
        columns: Text of the docs by column name, in order.
        depends: Tables and views it reads.
        sql: The `SELECT`, in DuckDB's dialect, with ``$name`` for each parameter.
    """

    name: str
    purpose: str
    grain: str
    parameters: tuple[Parameter, ...]
    columns: dict[str, str]
    depends: tuple[str, ...]
    sql: str


@cache
def report_spec(name: str) -> ReportSpec:
    """Read one report by name.

    Args:
        name: An entry of `PARAMETRIC` or of `REPORTS`.

    Returns:
        The report with its header taken apart; one of `REPORTS` has no parameters, and all rows of the view.

    Raises:
        KeyError: No report has this name.
        ValueError: The file's header lacks something, or has a parameter line that isn't one.
    """
    if name in REPORTS:
        spec = view(name)
        columns = ", ".join(f'"{c}"' for c in spec.columns)
        return ReportSpec(name, spec.purpose, spec.grain, (), spec.columns, (name,), f"SELECT {columns} FROM {name}")
    if name not in PARAMETRIC:
        raise KeyError(name)
    written = parse_report(name, _text(f"{name}.sql"))
    return replace(written, depends=tuple(d for d in _needed(written) if d not in PARTS), sql=_with_parts(written))


@cache
def part(name: str) -> ViewSpec:
    """Read one of `PARTS` by name."""
    return parse_view(name, _text(f"parts/{name}.sql"))


def _text(path: str) -> str:
    return (resources.files("mlwarehouse") / "sql" / "parametric" / path).read_text(encoding="utf-8")


def _needed(spec: ReportSpec | ViewSpec) -> dict[str, None]:
    """All that a report or part reads, also by way of its parts, each after those it depends on itself."""
    found: dict[str, None] = {}
    for name in spec.depends:
        found |= _needed(part(name)) if name in PARTS else {}
        found[name] = None
    return found


def _with_parts(spec: ReportSpec) -> str:
    """A report's query with its parts in front, as further common table expressions."""
    ctes = ",\n".join(f"{name} AS (\n{part(name).sql}\n)" for name in _needed(spec) if name in PARTS)
    opening = re.search(r"^WITH ", spec.sql, re.MULTILINE)
    if not ctes:
        return spec.sql
    if opening is None:
        return f"WITH {ctes}\n{spec.sql}"
    return f"{spec.sql[: opening.start()]}WITH {ctes},\n{spec.sql[opening.end() :]}"


def all_reports() -> tuple[ReportSpec, ...]:
    """All reports: those with parameters first."""
    return tuple(report_spec(name) for name in (*PARAMETRIC, *REPORTS))


def parse_report(name: str, text: str) -> ReportSpec:
    """Take a report file's header and query apart; see the module's text for the form.

    Raises:
        ValueError: The header lacks something, or has a parameter line that isn't one.
    """
    spec = parse_view(name, text)
    parameters = []
    for line in text.splitlines():
        if not line.startswith("-- parameter"):
            continue
        match = _PARAMETER.fullmatch(line)
        if match is None or ("|" not in match["type"] and match["type"] not in TYPES):
            raise ValueError(f"Report `{name}` has a parameter line that isn't `name type = default: text`: {line}")
        parameters.append(Parameter(match["name"], match["type"], match["default"], match["doc"]))
    return ReportSpec(name, spec.purpose, spec.grain, tuple(parameters), spec.columns, spec.depends, spec.sql)
