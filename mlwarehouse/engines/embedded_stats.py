"""Delta's per-file statistics, computed from Arrow.

Formula: the protocol's "Per-file Statistics" (https://github.com/delta-io/delta/blob/master/PROTOCOL.md): row count,
and per column the minimum, maximum and null count, with which readers skip files.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

LONGEST_TEXT = 64
"""Longer text is cut to this many characters for a bound; a cut maximum is rounded up to stay one."""

_LAST_CHARACTER = "\U0010ffff"


def column_stats(rows: pa.Table) -> dict[str, Any]:
    """Statistics of one file, ready for JSON.

    A file with NaN or an infinity gets no extremes, in none of its columns: engines disagree on where NaN sorts, JSON
    can't write an infinity, and delta-rs's datasets take a column without extremes, in a file that has some, for one
    whose rows match no comparison.
    """
    minimum: dict[str, Any] = {}
    maximum: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    has_bounds = True
    for field in rows.schema:
        column = rows.column(field.name)
        nulls[field.name] = column.null_count
        if column.null_count == rows.num_rows:
            continue
        if pa.types.is_floating(field.type) and not pc.all(pc.is_finite(column), skip_nulls=True).as_py():
            has_bounds = False
            continue
        if pa.types.is_boolean(field.type):
            continue
        extremes = pc.min_max(_values(column))
        minimum[field.name] = _lower(extremes["min"].as_py())
        maximum[field.name] = _upper(extremes["max"].as_py())
    bounds = {"minValues": minimum, "maxValues": maximum} if has_bounds else {}
    return {"numRecords": rows.num_rows, **bounds, "nullCount": nulls}


def _values(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values among which a column's extremes are: of dictionary-encoded text, the dictionaries."""
    if not pa.types.is_dictionary(column.type):
        return column
    return pa.chunked_array([chunk.dictionary for chunk in column.chunks], column.type.value_type)


def _lower(value: Any) -> Any:
    return value[:LONGEST_TEXT] if isinstance(value, str) else _moment(value)


def _upper(value: Any) -> Any:
    if not isinstance(value, str):
        return _moment(value)
    if len(value) <= LONGEST_TEXT:
        return value
    cut = value[:LONGEST_TEXT] + _LAST_CHARACTER
    return cut if cut >= value else value


def _moment(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value
