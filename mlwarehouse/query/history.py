"""Every point of metrics, as one frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import ViewType
from mlwarehouse.errors import InvalidInputError, NotFoundError, did_you_mean
from mlwarehouse.query.experiments import resolve_experiments
from mlwarehouse.query.frames import check_format, to_frame
from mlwarehouse.query.question import Scope
from mlwarehouse.query.references import References
from mlwarehouse.query.runs import unknown_run
from mlwarehouse.query.scoping import run_condition, runs_in_scope

HISTORY_FORMATS: tuple[str, ...] = ("pandas", "arrow", "polars")


def metric_history(
    engine: Engine,
    reading: Reading | None = None,
    *,
    run_ids: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    experiment_ids: Sequence[str] | None = None,
    output_format: str = "pandas",
) -> Any:
    """Every point of some metrics of some runs.

    Args:
        engine: Answers the questions.
        reading: The state to look at; None means the newest committed one.
        run_ids: The runs; None for all.
        keys: The metrics, by key, each in all its contexts; None for all.
        experiment_ids: Only runs of these experiments; None for any.
        output_format: ``pandas``, ``arrow`` or ``polars``.

    Returns:
        A frame with a row per point, sorted by ``run_id``, ``key``, ``step`` and ``timestamp``. Columns: ``run_id``,
        ``key`` (text), ``step`` (whole number), ``value`` (float), ``timestamp`` (UTC microseconds), ``context`` (JSON
        text or None), ``attempt`` (whole number).

    Raises:
        NotFoundError: An unknown run or experiment, or a metric that none of the chosen runs has where they have
            others.
        InvalidInputError: A text where a list is needed.
    """
    check_format(output_format, HISTORY_FORMATS)
    for words, what in ((run_ids, "run_ids"), (keys, "keys")):
        if isinstance(words, str):
            raise InvalidInputError(f"`{what}` must be a list; got the text `{words}`. Write [{words!r}].")
    experiments = resolve_experiments(engine, reading, experiment_ids=experiment_ids, experiment_names=None)
    if run_ids is not None:
        _refuse_unknown_runs(engine, reading, list(run_ids))
    references = References()
    where = []
    if run_ids is not None:
        where.append(run_condition(list(run_ids), references))
    if experiments is not None:
        inside = runs_in_scope(Scope(experiment_ids=experiments, view_type=ViewType.ALL), references)
        where.append(f"run_id IN ({inside})")
    chosen, chosen_parameters = list(where), dict(references.parameters)
    if keys is not None:
        marks = ", ".join(references.mark(key) for key in keys)
        where.append(f"key IN ({marks})" if marks else "FALSE")
    table = engine.query(
        "SELECT run_id, key, step, value, event_at AS timestamp, context, attempt FROM metrics"
        f"{_where(where)} ORDER BY run_id, key, step, event_at, context NULLS FIRST, value",
        reading=reading,
        parameters=references.parameters,
    )
    missing = set(keys or ()) - set(table.column("key").unique().to_pylist())
    if missing:
        rows = engine.query(
            f"SELECT DISTINCT key FROM metrics{_where(chosen)}", reading=reading, parameters=chosen_parameters
        )
        known = rows.column("key").to_pylist()
        if known:
            key = min(missing)
            raise NotFoundError(
                f"None of the chosen runs has a metric `{key}`.{did_you_mean(key, known)} "
                f"({len(known)} metric keys are known there.)"
            )
    return to_frame(table, output_format)


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _refuse_unknown_runs(engine: Engine, reading: Reading | None, run_ids: list[str]) -> None:
    references = References()
    rows = engine.query(
        f"SELECT run_id FROM runs WHERE {run_condition(run_ids, references)}",
        reading=reading,
        parameters=references.parameters,
    )
    missing = set(run_ids) - set(rows.column("run_id").to_pylist())
    if missing:
        raise unknown_run(engine, reading, min(missing))
