"""Calls that read every point of a metric. Of a run that isn't there they find none, as with MLflow."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.mlflow_api.messages import said_nothing
from mlwarehouse.mlflow_api.pages import next_page, read_offset
from mlwarehouse.mlflow_api.states import milliseconds, number
from mlwarehouse.mlflow_api.store import MlflowStore
from mlwarehouse.query.references import SERIES, References

MOST_RUNS = 100
MOST_POINTS = 2500
"""Of one question for samples: runs, and points of each."""

MOST_BULK_POINTS = 25_000
"""Points of one question for the points of many runs."""


def get_history(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """The points of a run's metric, in the order of their times; a page of them where `max_results` says so."""
    size, offset = asked["max_results"], read_offset(asked["page_token"])
    if size is not None and size <= 0:
        raise InvalidInputError(
            f"Invalid value {size} for parameter 'max_results' supplied. It must be a positive integer."
        )
    references = References()
    points = _points([asked["run_id"]], asked["metric_key"], references)
    limit = "" if size is None else f" LIMIT {size + 1}"
    rows = store.query(
        f"SELECT * FROM ({points}) AS points ORDER BY event_at, step, value{limit} OFFSET {offset}",
        references.parameters,
    )
    told = _told(rows, asked["metric_key"])
    if size is None or len(told) <= size:
        return {"metrics": told} if told else {}
    return {"metrics": told[:size], **next_page(offset + size)}


def get_history_bulk(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """The points of one metric of several runs."""
    run_ids = _runs(asked)
    most = min(asked["max_results"] or MOST_BULK_POINTS, MOST_BULK_POINTS)
    references = References()
    points = _points(run_ids, asked["metric_key"], references)
    rows = store.query(
        f"SELECT * FROM ({points}) AS points ORDER BY run_id, event_at, step, value LIMIT {max(most, 0)}",
        references.parameters,
    )
    return {"metrics": _told(rows, asked["metric_key"], with_runs=True)}


def get_history_samples(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Points of one metric of several runs, evenly thinned out, each run's first and last among them."""
    run_ids = _runs(asked)
    size = asked["max_results"] if asked["max_results"] is not None else MOST_POINTS
    if not 1 <= size <= MOST_POINTS:
        raise InvalidInputError(f"max_results must be between 1 and {MOST_POINTS}")
    first, last = asked["start_step"], asked["end_step"]
    if (first is None) != (last is None):
        raise InvalidInputError("If either start step or end step are specified, both must be specified.")
    if first is not None and first > last:
        raise InvalidInputError(
            f"end_step must be greater than start_step. Found start_step={first} and end_step={last}."
        )
    references = References()
    points = _points(run_ids, asked["metric_key"], references)
    steps = "" if first is None else f" WHERE step BETWEEN {int(first)} AND {int(last)}"
    rows = store.query(
        f"""
        WITH points AS ({points}),
        placed AS (
            SELECT
                *,
                ROW_NUMBER() OVER (PARTITION BY run_id ORDER BY step, event_at, value) - 1 AS place,
                COUNT(*) OVER (PARTITION BY run_id) AS n
            FROM points{steps}
        ),
        -- Buckets as NTILE makes them, of which each gives its first point: the first ones have one point more.
        sampled AS (
            SELECT
                *,
                place < (n % {size}) * (n // {size} + 1) AS is_long
            FROM placed
        )
        SELECT run_id, value, event_at, step, place, n FROM sampled
        WHERE n <= {size}
            OR place = n - 1
            OR (is_long AND place % (n // {size} + 1) = 0)
            OR (NOT is_long AND (place - (n % {size}) * (n // {size} + 1)) % (n // {size}) = 0)
        ORDER BY run_id, place""",
        references.parameters,
    )
    told: dict[str, list[dict[str, Any]]] = {run_id: [] for run_id in run_ids}
    for entry in _told(rows, asked["metric_key"], with_runs=True):
        told[entry["run_id"]].append(entry)
    # The last point takes the place of the last bucket's first where the page would be too long.
    kept = [e for found in told.values() for e in (found if len(found) <= size else [*found[: size - 1], found[-1]])]
    return {"metrics": kept} if kept else {}


def _runs(asked: dict[str, Any]) -> list[str]:
    run_ids = list(dict.fromkeys(asked["run_ids"]))
    if not run_ids:
        raise said_nothing("run_ids")
    if len(run_ids) > MOST_RUNS:
        raise InvalidInputError(
            f"GetMetricHistoryBulkInterval request must specify at most {MOST_RUNS} run_ids. Received {len(run_ids)} "
            "run_ids."
        )
    return run_ids


def _points(run_ids: list[str], key: str, references: References) -> str:
    """The different points of a series of some runs, in SQL: one that was sent twice is one."""
    marks = ", ".join(references.mark(run_id) for run_id in run_ids)
    mark = references.mark(key)
    # A series in a context is its key and the context, which is JSON.
    of = f"{SERIES} = {mark}" if key.endswith("}") else f"key = {mark} AND context IS NULL"
    return f"SELECT DISTINCT run_id, value, event_at, step FROM metrics WHERE run_id IN ({marks}) AND {of}"


def _told(rows: pa.Table, key: str, *, with_runs: bool = False) -> list[dict[str, Any]]:
    columns = [rows.column("value").to_pylist(), milliseconds(rows.column("event_at")), rows.column("step").to_pylist()]
    told = [
        {"key": key, "value": number(value), "timestamp": at, "step": step}
        for value, at, step in zip(*columns, strict=True)
    ]
    if not with_runs:
        return told
    return [{**entry, "run_id": run} for entry, run in zip(told, rows.column("run_id").to_pylist(), strict=True)]
