"""Rows for base tables from a few words: what a test leaves out gets a plain default."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from mlwarehouse.tables import TABLES_BY_NAME

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)

DEFAULTS: dict[str, Any] = {"run_id": "r1", "attempt": 0, "step": 0, "writer_id": "w1"}


def moment(value: float | str | None) -> dt.datetime | None:
    """A time from seconds after noon, or from ISO 8601."""
    if value is None or isinstance(value, dt.datetime):
        return value
    if isinstance(value, str):
        return dt.datetime.fromisoformat(value)
    return NOON + dt.timedelta(microseconds=round(value * 1e6))


def seconds(value: dt.datetime | None) -> float | str | None:
    """The other way round, as the case files write it."""
    if value is None:
        return None
    after = (value - NOON) / dt.timedelta(seconds=1)
    return after if abs(after) < 1e6 else value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tables(given: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, pa.Table]:
    """Arrow tables from sparse rows."""
    result: dict[str, pa.Table] = {}
    count = 0
    for name, rows in given.items():
        spec = TABLES_BY_NAME[name]
        columns = [c.name for c in spec.all_columns]
        times = {c.name for c in spec.all_columns if c.type == "timestamp"}
        filled: list[dict[str, Any]] = []
        for sparse in rows:
            count += 1
            row: dict[str, Any] = (
                {k: v for k, v in DEFAULTS.items() if k in columns} | {"writer_seq": count} | dict(sparse)
            )
            at = row.pop("at", count)
            row = {"event_at": at, "recorded_at": at} | row
            unknown = row.keys() - set(columns)
            assert not unknown, f"{name} has no {unknown}"
            filled.append({c: moment(row.get(c)) if c in times else row.get(c) for c in columns})
        result[name] = pa.Table.from_pylist(filled, schema=spec.arrow_schema())
    return result


def comparable(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Rows as sorted text: NaN equals NaN, and the order doesn't matter."""
    return sorted(repr({c: _plain(row[c]) for c in columns}) for row in rows)


def _plain(value: Any) -> Any:
    """Times as the case files write them, whole numbers as floats, the pairs of a map as lists."""
    if isinstance(value, dt.datetime):
        return seconds(value)
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in sorted(value.items())}
    return value + 0.0 if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else value
