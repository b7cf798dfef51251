"""The views over random events equal the same rules in plain Python."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlwarehouse.engines.base import Reading
from mlwarehouse.engines.embedded import EmbeddedEngine
from tests.views.rows import comparable, tables

# Few values, so that ties are common.
ENVELOPE = {
    "event_at": st.integers(0, 4),
    "recorded_at": st.integers(0, 4),
    "writer_id": st.sampled_from(["a", "b"]),
}
RUNS = st.sampled_from(["r1", "r2"])
KEYS = st.sampled_from(["k1", "k2"])
VALUES = st.sampled_from([0.0, 1.0, -2.5, 8.0, math.nan, math.inf, -math.inf])


def events(**columns: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Events with a writer's numbers that never repeat, in random order."""
    rows = st.lists(st.fixed_dictionaries({"run_id": RUNS, **columns, **ENVELOPE}), max_size=14)
    return rows.flatmap(lambda found: st.permutations([{**row, "writer_seq": n} for n, row in enumerate(found)]))


def position(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["recorded_at"], row["writer_id"], row["writer_seq"]


def grouped(rows: list[dict[str, Any]], *names: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=position):
        groups.setdefault(tuple(row[n] for n in names), []).append(row)
    return groups


@pytest.fixture(scope="module")
def engine(empty_tables: Path) -> EmbeddedEngine:
    return EmbeddedEngine(empty_tables)


def check(engine: EmbeddedEngine, view: str, table: str, rows: list[dict[str, Any]], expected: list[Any]) -> None:
    found = engine.query(f"SELECT * FROM {view}", reading=Reading(overlay=tables({table: rows}))).to_pylist()
    columns = sorted(set().union(*expected)) if expected else []
    assert comparable(found, columns) == comparable(expected, columns)


examples = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@examples
@given(rows=events(key=KEYS, value=st.sampled_from(["x", "1"]), value_number=st.sampled_from([None, 1.0])))
def test_params(engine: EmbeddedEngine, rows: list[dict[str, Any]]) -> None:
    expected = [
        {"run_id": run, "key": key, "value": group[0]["value"], "value_number": group[0]["value_number"]}
        for (run, key), group in grouped(rows, "run_id", "key").items()
    ]
    check(engine, "params", "param_events", rows, expected)


@examples
@given(rows=events(key=KEYS, value=st.sampled_from([None, "", "x"])))
def test_tags(engine: EmbeddedEngine, rows: list[dict[str, Any]]) -> None:
    expected = [
        {"run_id": run, "key": key, "value": group[-1]["value"]}
        for (run, key), group in grouped(rows, "run_id", "key").items()
        if group[-1]["value"] is not None
    ]
    check(engine, "tags", "tag_events", rows, expected)


def by_value(value: float) -> tuple[bool, float]:
    """NaN is the largest."""
    return math.isnan(value), 0.0 if math.isnan(value) else value


@examples
@given(
    rows=events(
        key=KEYS,
        step=st.integers(-2, 2),
        value=VALUES,
        context=st.sampled_from([None, '{"a": 1}']),
        attempt=st.integers(0, 3),
    )
)
def test_metric_curves(engine: EmbeddedEngine, rows: list[dict[str, Any]]) -> None:
    expected = [
        {name: row[name] for name in ("run_id", "key", "context", "step", "value", "attempt", "event_at")}
        for group in grouped(rows, "run_id", "key", "context").values()
        for row in group
        if not any(r["attempt"] > row["attempt"] and r["step"] <= row["step"] for r in group)
    ]
    check(engine, "metric_curves", "metrics", rows, expected)


@examples
@given(rows=events(key=KEYS, step=st.integers(-2, 2), value=VALUES, context=st.sampled_from([None, '{"a": 1}'])))
def test_metric_summaries(engine: EmbeddedEngine, rows: list[dict[str, Any]]) -> None:
    expected = []
    for (run, key, context), group in grouped(rows, "run_id", "key", "context").items():
        ordered = sorted(group, key=lambda r: (r["step"], r["event_at"], by_value(r["value"])))
        numbers = [r for r in group if not math.isnan(r["value"])]
        low = min(numbers, key=lambda r: (r["value"], r["step"]), default=None)
        high = min(numbers, key=lambda r: (-r["value"], r["step"]), default=None)
        expected.append(
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
    check(engine, "metric_summaries", "metrics", rows, expected)


KINDS = st.sampled_from(["started", "resumed", "ended", "heartbeat", "renamed", "deleted", "restored"])


@examples
@given(
    rows=events(
        kind=KINDS,
        attempt=st.integers(0, 2),
        experiment_id=st.sampled_from([None, "e1"]),
        name=st.sampled_from([None, "n1", "n2"]),
        status=st.sampled_from([None, "RUNNING", "FINISHED"]),
        parent_run_id=st.sampled_from([None, "p"]),
        heartbeat_due_at=st.sampled_from([None, "2020-01-01T00:00:00Z", "2126-01-01T00:00:00Z"]),
    )
)
def test_runs(engine: EmbeddedEngine, rows: list[dict[str, Any]]) -> None:
    expected = []
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
        expected.append(
            {
                "run_id": run,
                "experiment_id": starts[0]["experiment_id"],
                "parent_run_id": starts[0]["parent_run_id"],
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
    check(engine, "runs", "run_events", rows, expected)
