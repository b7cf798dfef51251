"""Reports: the values of their parameters, and asking them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from typing import Any

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import ViewType
from mlwarehouse.errors import InvalidInputError, NotFoundError, did_you_mean
from mlwarehouse.query.experiments import resolve_experiments
from mlwarehouse.query.frames import FRAME_FORMATS, check_format, to_frame
from mlwarehouse.query.names import Name
from mlwarehouse.query.question import Scope
from mlwarehouse.query.unknown import existing_series, refuse_unknown
from mlwarehouse.tables.reports import DEFAULTS_OF_NOTHING, LISTS, PARAMETRIC, Parameter, ReportSpec, report_spec
from mlwarehouse.tables.views import REPORTS

ReadTime = Callable[[Any], dt.datetime]


def find_report(name: str) -> ReportSpec:
    """A report by name.

    Raises:
        NotFoundError: There is none; it says which there are.
    """
    known = (*PARAMETRIC, *REPORTS)
    if name not in known:
        raise NotFoundError(
            f"There is no report `{name}`.{did_you_mean(str(name), known)} The reports are {', '.join(known)}."
        )
    return report_spec(name)


def report(
    engine: Engine,
    reading: Reading | None,
    name: str,
    given: Mapping[str, Any],
    *,
    now: dt.datetime,
    read_time: ReadTime,
    output_format: str = "pandas",
    answering: Engine | None = None,
) -> Any:
    """Answer a report.

    Args:
        engine: Answers the question, and those for the names that it has.
        reading: The state to look at; None means the newest committed one.
        name: The report.
        given: Values of parameters; the others have their defaults.
        now: What the default ``now`` stands for.
        read_time: Makes a time of what a caller may give as one.
        output_format: ``pandas``, ``arrow`` or ``polars``.
        answering: An engine that answers the question in place of `engine`, of which looking names up is cheap.

    Returns:
        A frame with the report's columns.

    Raises:
        NotFoundError: No such report, experiment or metric.
        InvalidInputError: A parameter that the report hasn't, that it needs, or whose value can't be meant.
    """
    check_format(output_format, FRAME_FORMATS)
    spec = find_report(name)
    values = bound_values(spec, given, now=now, read_time=read_time)
    for parameter in spec.parameters:
        if parameter.type == "experiments" and values[parameter.name] is not None:
            ids = resolve_experiments(engine, reading, experiment_ids=None, experiment_names=values[parameter.name])
            values[parameter.name] = list(ids or ())
    for parameter in spec.parameters:
        if parameter.type == "metric" and values[parameter.name] is not None:
            _check_metric(engine, reading, values[parameter.name], values.get("experiments"))
        if parameter.type in _SCORED and values[parameter.name] is not None:
            _check_scored(engine, reading, parameter.type, values[parameter.name])
    return to_frame((answering or engine).query(spec.sql, reading=reading, parameters=values), output_format)


def bound_values(
    spec: ReportSpec, given: Mapping[str, Any], *, now: dt.datetime, read_time: ReadTime
) -> dict[str, Any]:
    """A value for each parameter of a report.

    Raises:
        InvalidInputError: A parameter that the report hasn't, that it needs, or whose value can't be meant.
    """
    names = [p.name for p in spec.parameters]
    for name in given:
        if name not in names:
            listed = f"its parameters are {', '.join(names)}" if names else "it takes none"
            raise InvalidInputError(
                f"Report `{spec.name}` has no parameter `{name}`; {listed}.{did_you_mean(name, names)}"
            )
    return {p.name: _value(spec, p, given.get(p.name), now, read_time) for p in spec.parameters}


def _value(spec: ReportSpec, parameter: Parameter, value: Any, now: dt.datetime, read_time: ReadTime) -> Any:
    what = f"Parameter `{parameter.name}` of report `{spec.name}`"
    if value is None:
        default = parameter.default
        if default is None:
            raise InvalidInputError(f"Report `{spec.name}` needs `{parameter.name}`. {parameter.doc}")
        if default in DEFAULTS_OF_NOTHING:
            return now if default == "now" else None
        value = [t.strip() for t in default.split(",")] if parameter.type == "texts" else default
    if parameter.choices:
        if value not in parameter.choices:
            raise InvalidInputError(
                f"{what} is one of {', '.join(parameter.choices)}; got {value!r}."
                f"{did_you_mean(str(value), parameter.choices)}"
            )
        return value
    if parameter.type in ("number", "count"):
        number = _number(what, value)
        if parameter.type == "count" and (number < 1 or number != int(number)):
            raise InvalidInputError(f"{what} is a whole number from 1 on; got {value!r}.")
        return number
    if parameter.type == "time":
        return read_time(value)
    if parameter.type in LISTS:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(t, str) for t in texts):
            raise InvalidInputError(f"{what} is a list of texts; got {value!r}.")
        return list(texts)
    if not isinstance(value, str):
        raise InvalidInputError(f"{what} is a text; got {value!r}.")
    return value


def _number(what: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidInputError(f"{what} is a finite number; got {value!r}.")
    return number


def _check_metric(engine: Engine, reading: Reading | None, series: str, experiment_ids: list[str] | None) -> None:
    """Refuse a metric that no run has: its report would be empty without a word."""
    ids = None if experiment_ids is None else tuple(experiment_ids)
    scope = Scope(experiment_ids=ids, view_type=ViewType.ACTIVE_ONLY)
    if not existing_series(engine, reading, scope, [series]):
        refuse_unknown(engine, reading, scope, [Name("metric", series)], NotFoundError)


_DATASETS = ("rows were scored as dataset", "SELECT DISTINCT dataset AS name FROM predictions")
_SCORED = {
    "dataset": _DATASETS,
    "datasets": _DATASETS,
    "scoring_models": ("rows were scored by model", "SELECT DISTINCT model_name AS name FROM predictions"),
    "features": (
        "values are kept of",
        "SELECT output AS name FROM predictions UNION SELECT feature AS name FROM prediction_inputs",
    ),
}
"""What there are of a parameter's values, by its type: in words, and as a question."""


def _check_scored(engine: Engine, reading: Reading | None, type_: str, given: str | list[str]) -> None:
    """Refuse names of what nobody scored, for the same reason."""
    words, question = _SCORED[type_]
    found = engine.query(question, reading=reading).column("name")
    known = sorted(found.drop_null().to_pylist())
    for name in [given] if isinstance(given, str) else given:
        if name not in known:
            raise NotFoundError(
                f"No {words} `{name}`; there are {', '.join(known[:10]) or 'none'}"
                f"{' and more' if len(known) > 10 else ''}.{did_you_mean(name, known)}"
            )
