"""Rows to append, and what the tables then hold."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from mlwarehouse.engines.embedded import EmbeddedEngine

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def points(writer: str, n: int) -> pa.Table:
    return pa.table(
        {
            "run_id": ["r"] * n,
            "key": ["loss"] * n,
            "step": list(range(n)),
            "value": [0.5] * n,
            "context": pa.nulls(n, pa.string()),
            "attempt": pa.array([0] * n, pa.int32()),
            "event_at": [NOW] * n,
            "recorded_at": [NOW] * n,
            "writer_id": [writer] * n,
            "writer_seq": list(range(n)),
        }
    )


def count(engine: EmbeddedEngine) -> int:
    question = "SELECT COUNT(*) AS n, COUNT(DISTINCT (writer_id, writer_seq)) AS n_distinct FROM metrics"
    (found,) = engine.query(question).to_pylist()
    assert found["n"] == found["n_distinct"]
    return int(found["n"])
