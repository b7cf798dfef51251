"""Loading what belongs to some runs: long tables of metrics, params and tags, and runs as objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import Run, RunData, RunInfo
from mlwarehouse.query.references import References
from mlwarehouse.query.scoping import run_condition

LIST_ATTRIBUTES: tuple[str, ...] = (
    "run_id",
    "experiment_id",
    "run_name",
    "user_id",
    "status",
    "start_time",
    "end_time",
    "lifecycle_stage",
    "artifact_uri",
)
"""The attributes that a run as an object has."""


def load_metrics(
    engine: Engine,
    reading: Reading | None,
    numbers: Sequence[int | str],
    *,
    series: Sequence[str] | None = None,
    stats: Sequence[str] = ("last",),
) -> pa.Table:
    """The metrics of some runs.

    Args:
        engine: Answers the question.
        reading: The state to look at.
        numbers: The numbers that the runs have in this reading.
        series: Only these; None for all.
        stats: Entries of `STATS`.

    Returns:
        A row per run and series: ``number``, ``series``, and a column for each of `stats`.
    """
    references = References()
    where = run_condition(numbers, references, column="number")
    if series is not None:
        where += f" AND {references.series_condition(list(series))}"
    return engine.query(
        f"SELECT number, series, {', '.join(stats)} FROM numbered_metric_summaries WHERE {where}",
        reading=reading,
        parameters=references.parameters,
    )


def load_at_step(
    engine: Engine, reading: Reading | None, run_ids: Sequence[str], *, series: Sequence[str], step: int
) -> pa.Table:
    """The values of some runs at a step.

    Args:
        engine: Answers the question.
        reading: The state to look at.
        run_ids: The runs.
        series: Their series.
        step: The step.

    Returns:
        A row per run and series that has a point there: ``number`` (here the run's id), ``series``, ``at_step``.
    """
    references = References()
    where = run_condition(run_ids, references)
    sql = references.points_at_step(list(series), step, where=where)
    return engine.query(sql, reading=reading, parameters=references.parameters)


def load_pairs(
    engine: Engine,
    reading: Reading | None,
    view: str,
    numbers: Sequence[int | str],
    *,
    keys: Sequence[str] | None = None,
) -> pa.Table:
    """The params or tags of some runs.

    Args:
        engine: Answers the question.
        reading: The state to look at.
        view: ``params`` or ``tags``.
        numbers: The numbers that the runs have in this reading.
        keys: Only these; None for all.

    Returns:
        A row per run and key: ``number``, ``key``, ``value``.
    """
    references = References()
    where = run_condition(numbers, references, column="number")
    if keys is not None:
        where += f" AND key IN ({', '.join(references.mark(key) for key in keys)})"
    return engine.query(
        f"SELECT number, key, value FROM numbered_{view} WHERE {where}",
        reading=reading,
        parameters=references.parameters,
    )


def load_runs(engine: Engine, reading: Reading | None, page: pa.Table) -> list[Run]:
    """Runs as objects, with their latest metrics, params and tags.

    Args:
        engine: Answers the questions.
        reading: The state to look at.
        page: The runs, with ``number`` and the columns `LIST_ATTRIBUTES`.
    """
    numbers = page.column("number").to_pylist()
    if not numbers:
        return []
    metrics: dict[int | str, dict[str, float]] = _by_run(load_metrics(engine, reading, numbers), "series", "last")
    params: dict[int | str, dict[str, str]] = _by_run(load_pairs(engine, reading, "params", numbers), "key", "value")
    tags: dict[int | str, dict[str, str]] = _by_run(load_pairs(engine, reading, "tags", numbers), "key", "value")
    starts, ends = _milliseconds(page, "start_time"), _milliseconds(page, "end_time")
    return [
        Run(
            RunInfo(
                run_id=row["run_id"],
                experiment_id=row["experiment_id"],
                run_name=row["run_name"],
                user_id=row["user_id"],
                status=row["status"],
                start_time=start,
                end_time=end,
                lifecycle_stage=row["lifecycle_stage"],
                artifact_uri=row["artifact_uri"],
            ),
            RunData(
                metrics=metrics.get(row["number"], {}),
                params=params.get(row["number"], {}),
                tags=tags.get(row["number"], {}),
            ),
        )
        for row, start, end in zip(page.drop_columns(["start_time", "end_time"]).to_pylist(), starts, ends, strict=True)
    ]


def _by_run(rows: pa.Table, key: str, value: str) -> dict[int | str, dict[str, Any]]:
    result: dict[int | str, dict[str, Any]] = {}
    columns = (rows.column(name).to_pylist() for name in ("number", key, value))
    for number, word, content in sorted(zip(*columns, strict=True), key=lambda entry: entry[:2]):
        result.setdefault(number, {})[word] = content
    return result


def _milliseconds(page: pa.Table, column: str) -> list[Any]:
    # Cut, not rounded: MLflow's clients read whole milliseconds.
    times = page.column(column).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return [None if t is None else t // 1000 for t in times.to_pylist()]
