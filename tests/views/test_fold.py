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
from tests.views import reference
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
    check(engine, "params", "param_events", rows, reference.params(rows))


@examples
@given(rows=events(key=KEYS, value=st.sampled_from([None, "", "x"])))
def test_tags(engine: EmbeddedEngine, rows: list[dict[str, Any]]) -> None:
    check(engine, "tags", "tag_events", rows, reference.tags(rows))


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
        for group in reference.grouped(rows, "run_id", "key", "context").values()
        for row in group
        if not any(r["attempt"] > row["attempt"] and r["step"] <= row["step"] for r in group)
    ]
    check(engine, "metric_curves", "metrics", rows, expected)


@examples
@given(rows=events(key=KEYS, step=st.integers(-2, 2), value=VALUES, context=st.sampled_from([None, '{"a": 1}'])))
def test_metric_summaries(engine: EmbeddedEngine, rows: list[dict[str, Any]]) -> None:
    check(engine, "metric_summaries", "metrics", rows, reference.metric_summaries(rows))


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
    check(engine, "runs", "run_events", rows, reference.runs(rows))
