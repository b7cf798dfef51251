"""One page of a search: which runs, in order, with their attributes.

Where an engine keeps rows by run, the question asks for numbers only, and what a page shows is fetched by them: a
million runs are compared by a few columns, and a thousand are looked up. Then runs' ids aren't among what is compared,
although they decide between runs that are equal otherwise; so those are put in order here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.arrays import one_array
from mlwarehouse.engines.base import Engine, Reading, RunRows
from mlwarehouse.query.paging import WRITE_STEPS, run_steps, write_attributes
from mlwarehouse.query.question import Question
from mlwarehouse.query.references import References

KINDS: tuple[str, ...] = ("metrics", "params", "tags")
"""What runs have any number of."""

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


@dataclass(frozen=True)
class Page:
    """One page of runs.

    Attributes:
        table: A row a run, in order: ``number``, ``run_id``, the attributes, and ``has_<alias>`` for each reference.
        question: What was asked.
        kept: What the engine keeps of its runs.
    """

    table: pa.Table
    question: Question
    kept: RunRows | None = None


def load_page(engine: Engine, reading: Reading, question: Question, kinds: Sequence[str]) -> Page:
    """Ask for one page.

    Args:
        engine: Answers the questions.
        reading: The state to look at.
        question: The question, read and not yet written.
        kinds: Which of `KINDS` will be asked of its runs.
    """
    written = run_steps(replace(question, is_narrow=engine.keeps_rows(reading)), WRITE_STEPS)
    found = engine.query(written.sql, reading=reading, parameters=written.references.parameters)
    if not written.is_narrow:
        return Page(found, written)
    cut = _cut(found, written)
    if cut is None:
        written = run_steps(replace(question, references=References()), WRITE_STEPS)
        found = engine.query(written.sql, reading=reading, parameters=written.references.parameters)
        return Page(found, written, engine.rows_of_runs(reading, one_array(found.column("number")), kinds))
    found, groups = cut
    kept = engine.rows_of_runs(reading, one_array(found.column("number")), kinds)
    table = _with_attributes(engine, reading, found, written, kept)
    if len(groups) and groups[-1] + 1 < len(groups):
        order = pc.sort_indices(
            pa.table({"group": groups, "run_id": table.column("run_id")}),
            sort_keys=[("group", "ascending"), ("run_id", "ascending")],
        )
        table = table.take(order)
        kept = replace(kept, found=kept.found[order.to_numpy()], runs=kept.runs.slice(0, 0))
    return Page(table, written, kept)


def _cut(found: pa.Table, question: Question) -> tuple[pa.Table, np.ndarray] | None:
    """The rows of the page itself, and for each the number of its group of runs that are equal in order.

    Returns:
        None where such a group goes beyond the page, so that only the ids can tell who is on it.
    """
    before = min(question.offset, 1)
    n = max(min(found.num_rows - before, question.limit), 0)
    page = found.slice(before, n)
    keys = [f"key_{i}" for i in range(len(question.order_keys))]
    groups = np.zeros(found.num_rows, dtype=np.int64)
    if question.has_ties and found.num_rows > 1:
        is_same = np.ones(found.num_rows - 1, dtype=bool)
        for key in keys:
            is_same &= _same_as_next(one_array(found.column(key)))
        groups[1:] = np.cumsum(~is_same)
        starts_within = before and n and groups[0] == groups[1]
        ends_within = n and before + n < found.num_rows and groups[before + n - 1] == groups[before + n]
        if starts_within or ends_within:
            return None
    elif not question.has_ties:
        groups = np.arange(found.num_rows, dtype=np.int64)
    groups = groups[before : before + n]
    return page.drop_columns(keys), groups - (groups[0] if n else 0)


def _same_as_next(values: pa.Array) -> np.ndarray:
    """For each value but the last, whether the next one is the same; nothing is the same as nothing, NaN as NaN."""
    first, second = values[:-1], values[1:]
    same = pc.or_(pc.fill_null(pc.equal(first, second), False), pc.and_(pc.is_null(first), pc.is_null(second)))
    if pa.types.is_floating(values.type):
        both = pc.and_(pc.is_nan(first), pc.is_nan(second))
        same = pc.or_(same, pc.fill_null(both, False))
    result: np.ndarray = same.to_numpy(zero_copy_only=False)
    return result


def _with_attributes(engine: Engine, reading: Reading, found: pa.Table, question: Question, kept: RunRows) -> pa.Table:
    """The page with its attributes: from rows kept by run, or where these don't have them from the views."""
    numbers = one_array(found.column("number"))
    is_kept = kept.found if KEPT_ATTRIBUTES.keys() >= set(question.attributes) else np.zeros(len(numbers), dtype=bool)
    pieces = []
    if is_kept.any():
        pieces.append(_attributes(kept.runs, numbers.filter(pa.array(is_kept)), question.attributes))
    if not is_kept.all() or not len(numbers):
        references = References()
        rest = numbers.filter(pa.array(~is_kept)).to_pylist()
        sql = write_attributes(question.attributes, rest, references)
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
