"""Every point of metrics, as one frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import ViewType
from mlwarehouse.errors import InvalidInputError, NotFoundError, did_you_mean
from mlwarehouse.query.experiments import resolve_experiments
from mlwarehouse.query.frames import check_format, to_frame
from mlwarehouse.query.lineage import Line, continued, lines_of
from mlwarehouse.query.points import load_points
from mlwarehouse.query.question import Scope
from mlwarehouse.query.references import Constants, References
from mlwarehouse.query.runs import unknown_run
from mlwarehouse.query.scoping import run_condition, runs_in_scope

HISTORY_FORMATS: tuple[str, ...] = ("pandas", "arrow", "polars")

SOURCES = {"all": "metrics", "last": "metric_curves"}
"""Where the points are, by the attempts that count."""


def metric_history(
    engine: Engine,
    reading: Reading | None = None,
    *,
    run_ids: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    experiment_ids: Sequence[str] | None = None,
    attempts: str = "all",
    with_parents: bool = False,
    output_format: str = "pandas",
) -> Any:
    """Every point of some metrics of some runs.

    Args:
        engine: Answers the questions.
        reading: The state to look at; None means the newest committed one.
        run_ids: The runs; None for all.
        keys: The metrics, by key, each in all its contexts; None for all.
        experiment_ids: Only runs of these experiments; None for any.
        attempts: ``all`` points of resumed runs, or of the ``last`` attempt from its first step on: those that it has
            gone over again are left out, as in the view `metric_curves`.
        with_parents: Whether a forked run's curves begin with those of the run it was forked from.
        output_format: ``pandas``, ``arrow`` or ``polars``.

    Returns:
        A frame with a row per point, sorted by ``run_id``, ``key``, ``step`` and ``timestamp``. Columns: ``run_id``,
        ``key`` (text), ``step`` (whole number), ``value`` (float), ``timestamp`` (UTC microseconds), ``context`` (JSON
        text or None), ``attempt`` (whole number); with parents also ``source_run_id`` (text), the run that logged it.

    Raises:
        NotFoundError: An unknown run or experiment, or a metric that none of the chosen runs has where they have
            others.
        InvalidInputError: A text where a list is needed, or attempts that aren't ``all`` or ``last``.
    """
    check_format(output_format, HISTORY_FORMATS)
    for words, what in ((run_ids, "run_ids"), (keys, "keys")):
        if isinstance(words, str):
            raise InvalidInputError(f"`{what}` must be a list; got the text `{words}`. Write [{words!r}].")
    if attempts not in SOURCES:
        raise InvalidInputError(f"`attempts` is `{attempts}`; it must be one of {', '.join(SOURCES)}.")
    experiments = resolve_experiments(engine, reading, experiment_ids=experiment_ids, experiment_names=None)
    asked = None if run_ids is None else list(run_ids)
    lines: list[Line] = []
    if with_parents:
        if experiments is not None:
            asked, experiments = _runs_of(engine, reading, experiments, asked), None
        lines = lines_of(engine, reading, asked)
    if asked is None and not with_parents:
        table = _points_of_many(engine, reading, experiments, keys, SOURCES[attempts])
        if keys is not None:
            _refuse_unknown_keys(engine, reading, set(keys) - _present(table), *_scoped(experiments))
        return to_frame(table, output_format)
    references = References()
    where = []
    if asked is not None:
        where.append(run_condition(sorted({*asked, *(line.source for line in lines)}), references))
    if experiments is not None:
        inside = runs_in_scope(Scope(experiment_ids=experiments, view_type=ViewType.ALL), references)
        where.append(f"run_id IN ({inside})")
    chosen, chosen_parameters = list(where), dict(references.parameters)
    if keys is not None:
        marks = ", ".join(references.mark(key) for key in keys)
        where.append(f"key IN ({marks})" if marks else "FALSE")
    table = engine.query(
        f"SELECT run_id, key, step, value, event_at AS timestamp, context, attempt FROM {SOURCES[attempts]}"
        f"{_where(where)} ORDER BY run_id, key, step, event_at, context NULLS FIRST, value",
        reading=reading,
        parameters=references.parameters,
    )
    if run_ids is not None:
        # One that has points is known; to look for the others costs more than a curve.
        _refuse_unknown_runs(engine, reading, sorted({*run_ids} - {*table.column("run_id").unique().to_pylist()}))
    if with_parents:
        table = continued(table, asked, lines)
    _refuse_unknown_keys(engine, reading, set(keys or ()) - _present(table), _where(chosen), chosen_parameters)
    return to_frame(table, output_format)


def _points_of_many(
    engine: Engine,
    reading: Reading | None,
    experiments: tuple[str, ...] | None,
    keys: Sequence[str] | None,
    source: str,
) -> pa.Table:
    references = Constants()
    where = []
    if keys is not None:
        marks = ", ".join(references.mark(key) for key in keys)
        where.append(f"key IN ({marks})" if marks else "FALSE")
    if experiments is None:
        runs = f"SELECT DISTINCT run_id FROM {source}{_where(where)}"
    else:
        runs = runs_in_scope(Scope(experiment_ids=experiments, view_type=ViewType.ALL), references, column="run_id")
    return load_points(engine, reading, source=source, runs=runs, where=_where(where))


def _scoped(experiments: tuple[str, ...] | None) -> tuple[str, dict[str, Any]]:
    """The condition of a scope, with its parameters."""
    if experiments is None:
        return "", {}
    references = References()
    inside = runs_in_scope(Scope(experiment_ids=experiments, view_type=ViewType.ALL), references)
    return f" WHERE run_id IN ({inside})", references.parameters


def _present(table: pa.Table) -> set[str]:
    return set(table.column("key").unique().to_pylist())


def _refuse_unknown_keys(
    engine: Engine, reading: Reading | None, missing: set[str], where: str, parameters: dict[str, Any]
) -> None:
    if not missing:
        return
    rows = engine.query(f"SELECT DISTINCT key FROM metrics{where}", reading=reading, parameters=parameters)
    known = rows.column("key").to_pylist()
    if known:
        key = min(missing)
        raise NotFoundError(
            f"None of the chosen runs has a metric `{key}`.{did_you_mean(key, known)} "
            f"({len(known)} metric keys are known there.)"
        )


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _runs_of(
    engine: Engine, reading: Reading | None, experiments: tuple[str, ...], run_ids: list[str] | None
) -> list[str]:
    """The ids of the runs of some experiments, or of those among some runs."""
    references = References()
    inside = runs_in_scope(Scope(experiment_ids=experiments, view_type=ViewType.ALL), references)
    rows = engine.query(inside, reading=reading, parameters=references.parameters)
    found = set(rows.column("run_id").to_pylist())
    return sorted(found if run_ids is None else found & set(run_ids))


def _refuse_unknown_runs(engine: Engine, reading: Reading | None, run_ids: list[str]) -> None:
    if not run_ids:
        return
    references = References()
    rows = engine.query(
        f"SELECT run_id FROM runs WHERE {run_condition(run_ids, references)}",
        reading=reading,
        parameters=references.parameters,
    )
    missing = set(run_ids) - set(rows.column("run_id").to_pylist())
    if missing:
        raise unknown_run(engine, reading, min(missing))
