"""Loading what belongs to some runs: long tables of metrics, params and tags, and runs as objects."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mlwarehouse.engines.arrays import one_array
from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import Run, RunData, RunInfo
from mlwarehouse.query.pages import KINDS, Page
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


EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def load_metrics(
    engine: Engine,
    reading: Reading,
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
    engine: Engine, reading: Reading, run_ids: Sequence[str], *, series: Sequence[str], step: int
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
    reading: Reading,
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


def load_pages(engine: Engine, reading: Reading, page: Page, kinds: Sequence[str] = KINDS) -> dict[str, pa.Table]:
    """All metrics, params and tags of the runs of a page.

    Args:
        engine: Answers the questions.
        reading: The state to look at.
        page: The page.
        kinds: Which of the three are wanted.

    Returns:
        For each of `kinds` a row per run and key: ``number``, ``key`` (the series of a metric), ``value``.
    """
    numbers, kept = one_array(page.table.column("number")), page.kept
    rest = (numbers if kept is None else numbers.filter(pa.array(~kept.found))).to_pylist()
    result = {}
    for kind in kinds:
        rows = [] if kept is None else [getattr(kept, kind)]
        if rest and kind == "metrics":
            rows.append(load_metrics(engine, reading, rest).rename_columns(["number", "key", "value"]))
        elif rest:
            rows.append(load_pairs(engine, reading, kind, rest))
        result[kind] = rows[0] if len(rows) == 1 else pa.concat_tables([_plain(r) for r in rows])
    return result


def _plain(rows: pa.Table) -> pa.Table:
    return rows.set_column(1, "key", rows.column("key").cast(pa.string()))


def load_runs(engine: Engine, reading: Reading, page: Page) -> list[Run]:
    """Runs as objects, with their latest metrics, params and tags.

    Args:
        engine: Answers the questions.
        reading: The state to look at.
        page: The runs, with the columns `LIST_ATTRIBUTES`.
    """
    table = page.table
    if not table.num_rows:
        return []
    rows = load_pages(engine, reading, page)
    metrics, params, tags = (_by_run(rows[kind]) for kind in KINDS)
    starts, ends = _milliseconds(table.column("start_time")), _milliseconds(table.column("end_time"))
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
        for row, start, end in zip(
            table.drop_columns(["start_time", "end_time"]).to_pylist(), starts, ends, strict=True
        )
    ]


def load_kept_run(engine: Engine, reading: Reading, run_id: str) -> Run | None:
    """One run as an object, from where the engine keeps all about it.

    Args:
        engine: Answers the question.
        reading: The state to look at.
        run_id: The run's id.

    Returns:
        None where the views must be asked.
    """
    row = engine.row_of_run(reading, run_id)
    if row is None:
        return None
    info = RunInfo(
        run_id=run_id,
        experiment_id=row["experiment_id"],
        run_name=row["run_name"],
        user_id=row["user_id"],
        status=row["status"],
        start_time=_since_epoch(row["started_at"]),
        end_time=_since_epoch(row["ended_at"]),
        lifecycle_stage=row["lifecycle_stage"],
        artifact_uri=f"runs:/{run_id}",
    )
    return Run(info, RunData(**{kind: dict(sorted(row[kind].items())) for kind in KINDS}))


def _by_run(rows: pa.Table) -> dict[int | str, dict[str, Any]]:
    result: dict[int | str, dict[str, Any]] = {}
    columns = (rows.column(name).to_pylist() for name in ("number", "key", "value"))
    for number, word, content in sorted(zip(*columns, strict=True), key=lambda entry: entry[:2]):
        result.setdefault(number, {})[word] = content
    return result


def _milliseconds(column: pa.ChunkedArray) -> list[Any]:
    # Cut, not rounded: MLflow's clients read whole milliseconds.
    times = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return [None if t is None else t // 1000 for t in times.to_pylist()]


def _since_epoch(time: dt.datetime | None) -> Any:
    return None if time is None else (time - EPOCH) // dt.timedelta(milliseconds=1)
