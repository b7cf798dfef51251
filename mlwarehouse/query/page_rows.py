"""Rows of a page: the attributes of runs by their numbers, and which rows are equal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.arrays import one_array
from mlwarehouse.engines.base import Engine, Reading, RunRows
from mlwarehouse.query.paging import write_attributes
from mlwarehouse.query.references import References

KEPT_ATTRIBUTES: dict[str, str] = {
    "run_id": "run_id",
    "experiment_id": "experiment_id",
    "status": "status",
    "artifact_uri": "run_id",
    "start_time": "started_at",
    "end_time": "ended_at",
    "run_name": "run_name",
    "user_id": "user_id",
    "lifecycle_stage": "lifecycle_stage",
    "parent_run_id": "parent_run_id",
    "attempt": "attempt",
}
"""The attributes that can be had from rows kept by run, each with its column there."""


def groups_of(rows: pa.Table, keys: Iterable[int]) -> np.ndarray[Any, Any]:
    """For each row the number of its group of neighbours that are equal in the columns ``key_<n>``; from 0, int64."""
    groups = np.zeros(rows.num_rows, dtype=np.int64)
    if rows.num_rows > 1:
        is_same = np.ones(rows.num_rows - 1, dtype=bool)
        for key in keys:
            is_same &= _same_as_next(one_array(rows.column(f"key_{key}")))
        groups[1:] = np.cumsum(~is_same)
    return groups


def _same_as_next(values: pa.Array) -> np.ndarray:
    """For each value but the last, whether the next one is the same; nothing is the same as nothing, NaN as NaN."""
    first, second = values[:-1], values[1:]
    same = pc.or_(pc.fill_null(pc.equal(first, second), False), pc.and_(pc.is_null(first), pc.is_null(second)))
    if pa.types.is_floating(values.type):
        both = pc.and_(pc.is_nan(first), pc.is_nan(second))
        same = pc.or_(same, pc.fill_null(both, False))
    result: np.ndarray = same.to_numpy(zero_copy_only=False)
    return result


def with_attributes(
    engine: Engine, reading: Reading, found: pa.Table, attributes: Sequence[str], kept: RunRows
) -> pa.Table:
    """Runs with their attributes: from rows kept by run, or where these don't have them from the views.

    Args:
        engine: Answers the questions.
        reading: The state to look at.
        found: A row a run, with ``number``.
        attributes: The attributes' names.
        kept: What the engine keeps of these runs.

    Returns:
        The rows with the attributes behind their columns; null where the views have no such run.
    """
    numbers = one_array(found.column("number"))
    is_kept = kept.found if KEPT_ATTRIBUTES.keys() >= set(attributes) else np.zeros(len(numbers), dtype=bool)
    pieces = []
    if is_kept.any():
        pieces.append(_attributes(kept.runs, numbers.filter(pa.array(is_kept)), attributes))
    if not is_kept.all() or not len(numbers):
        references = References()
        rest = numbers.filter(pa.array(~is_kept)).to_pylist()
        sql = write_attributes(attributes, rest, references)
        pieces.append(engine.query(sql, reading=reading, parameters=references.parameters))
    if len(pieces) == 2:
        pieces[0] = pieces[0].cast(pieces[1].schema)
    rows = pa.concat_tables(pieces)
    places = pc.index_in(numbers, value_set=one_array(rows.column("number")))
    rows = rows.take(places).drop_columns(["number"])
    for name in found.column_names[::-1]:
        rows = rows.add_column(0, name, found.column(name))
    return rows


def _attributes(runs: pa.Table, numbers: pa.Array, names: Sequence[str]) -> pa.Table:
    columns = {"number": numbers}
    for name in names:
        column = runs.column(KEPT_ATTRIBUTES[name])
        if name == "artifact_uri":
            column = pc.binary_join_element_wise("runs:/", column, "")
        columns[name] = column
    return pa.table(columns)
