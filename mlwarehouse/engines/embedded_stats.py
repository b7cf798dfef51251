"""Delta's per-file statistics, computed from Arrow.

Formula: the protocol's "Per-file Statistics" (https://github.com/delta-io/delta/blob/master/PROTOCOL.md): row count,
and per column the minimum, maximum and null count, with which readers skip files.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

LONGEST_TEXT = 64
"""Longer strings get no minimum and maximum: a cut maximum would have to be rounded up to stay true."""


def column_stats(rows: pa.Table) -> dict[str, Any]:
    """Statistics of one file, ready for JSON.

    A column of doubles that holds NaN or an infinity gets no extremes: engines disagree on where NaN sorts, and JSON
    can't write an infinity.
    """
    minimum: dict[str, Any] = {}
    maximum: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for field in rows.schema:
        column = rows.column(field.name)
        nulls[field.name] = column.null_count
        if column.null_count == rows.num_rows:
            continue
        if pa.types.is_floating(field.type) and not pc.all(pc.is_finite(column), skip_nulls=True).as_py():
            continue
        if pa.types.is_boolean(field.type):
            continue
        extremes = pc.min_max(_values(column))
        low, high = _json(extremes["min"].as_py()), _json(extremes["max"].as_py())
        if low is None or high is None:
            continue
        minimum[field.name], maximum[field.name] = low, high
    return {"numRecords": rows.num_rows, "minValues": minimum, "maxValues": maximum, "nullCount": nulls}


def _values(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values among which a column's extremes are: of dictionary-encoded text, the dictionaries."""
    if not pa.types.is_dictionary(column.type):
        return column
    return pa.chunked_array([chunk.dictionary for chunk in column.chunks], column.type.value_type)


def _json(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
