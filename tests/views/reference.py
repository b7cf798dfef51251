"""The folds in plain Python: what each view must hold, given all events in any order.

A row is a dictionary with the columns of its table; times are numbers of seconds. Columns left out are null.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]


def position(row: dict[str, Any]) -> tuple[Any, ...]:
    """Where an event stands among the others."""
    return row["recorded_at"], row["writer_id"], row["writer_seq"]


def grouped(rows: Rows, *names: str) -> dict[tuple[Any, ...], Rows]:
    """Events by some columns, each group in the order of `position`."""
    groups: dict[tuple[Any, ...], Rows] = {}
    for row in sorted(rows, key=position):
        groups.setdefault(tuple(row.get(n) for n in names), []).append(row)
    return groups


def params(rows: Rows) -> Rows:
    """The first setting of each param."""
    return [
        {"run_id": run, "key": key, "value": group[0]["value"], "value_number": group[0]["value_number"]}
        for (run, key), group in grouped(rows, "run_id", "key").items()
    ]


def tags(rows: Rows) -> Rows:
    """The last setting of each tag that isn't removed."""
    return [
        {"run_id": run, "key": key, "value": group[-1]["value"]}
        for (run, key), group in grouped(rows, "run_id", "key").items()
        if group[-1]["value"] is not None
    ]


def by_value(value: float) -> tuple[bool, float]:
    """NaN is the largest."""
    return math.isnan(value), 0.0 if math.isnan(value) else value


def metric_summaries(rows: Rows) -> Rows:
    """Last and first by (step, time, value); extremes and mean without NaN."""
    result = []
    for (run, key, context), group in grouped(rows, "run_id", "key", "context").items():
        ordered = sorted(group, key=lambda r: (r["step"], r["event_at"], by_value(r["value"])))
        numbers = [r for r in group if not math.isnan(r["value"])]
        low = min(numbers, key=lambda r: (r["value"], r["step"]), default=None)
        high = min(numbers, key=lambda r: (-r["value"], r["step"]), default=None)
        result.append(
            {
                "run_id": run,
                "key": key,
                "context": context,
                "last": ordered[-1]["value"],
                "last_step": ordered[-1]["step"],
                "last_at": ordered[-1]["event_at"],
                "first": ordered[0]["value"],
                "first_step": ordered[0]["step"],
                "min": low and low["value"],
                "min_step": low and low["step"],
                "max": high and high["value"],
                "max_step": high and high["step"],
                "mean": sum(r["value"] for r in numbers) / len(numbers) if numbers else None,
                "count": len(group),
            }
        )
    return result


def runs(rows: Rows) -> Rows:
    """The state of each run that has started."""
    result = []
    for (run,), group in grouped(rows, "run_id").items():
        starts = [r for r in group if r["kind"] == "started"]
        if not starts:
            continue
        names = [r["name"] for r in group if r["kind"] in ("started", "renamed") and r["name"]]
        in_turn = sorted(group, key=lambda r: (r["attempt"], *position(r)))
        turns = [r for r in in_turn if r["kind"] in ("ended", "resumed")]
        switches = [r["kind"] for r in group if r["kind"] in ("deleted", "restored")]
        status = ([r["status"] for r in in_turn if r["status"]] or [None])[-1]
        promises = [r["heartbeat_due_at"] for r in in_turn if r["heartbeat_due_at"]]
        due = promises[-1] if promises and status == "RUNNING" else None
        ended_at = turns[-1]["event_at"] if turns and turns[-1]["kind"] == "ended" else None
        result.append(
            {
                "run_id": run,
                "experiment_id": starts[0]["experiment_id"],
                "parent_run_id": starts[0].get("parent_run_id"),
                "user_id": starts[0].get("actor"),
                "started_at": starts[0]["event_at"],
                "ended_at": ended_at,
                "duration_s": None if ended_at is None else float(ended_at - starts[0]["event_at"]),
                "run_name": names[-1] if names else None,
                "status": status,
                "lifecycle_stage": "deleted" if switches[-1:] == ["deleted"] else "active",
                "attempt": max(r["attempt"] for r in group),
                "heartbeat_due_at": due,
                "is_lost": due == "2020-01-01T00:00:00Z",
            }
        )
    return result


FOLDS: dict[str, Callable[[Rows], Rows]] = {
    "runs": runs,
    "params": params,
    "tags": tags,
    "metric_summaries": metric_summaries,
}
"""Views that have kept folds, each with what it holds."""
