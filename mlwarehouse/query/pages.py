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
from mlwarehouse.query.best import find_best
from mlwarehouse.query.page_rows import groups_of, with_attributes
from mlwarehouse.query.paging import WRITE_STEPS, run_steps
from mlwarehouse.query.question import Question
from mlwarehouse.query.references import References

KINDS: tuple[str, ...] = ("metrics", "params", "tags")
"""What runs have any number of."""


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
    narrow = replace(question, is_narrow=engine.keeps_rows(reading))
    best = find_best(engine, reading, narrow) if narrow.is_narrow else None
    if best is None:
        written = run_steps(narrow, WRITE_STEPS)
        found = engine.query(written.sql, reading=reading, parameters=written.references.parameters)
    else:
        found, written = best
    if not written.is_narrow:
        return Page(found, written)
    cut = _cut(found, written)
    if cut is None:
        written = run_steps(replace(question, references=References()), WRITE_STEPS)
        found = engine.query(written.sql, reading=reading, parameters=written.references.parameters)
        return Page(found, written, engine.rows_of_runs(reading, one_array(found.column("number")), kinds))
    found, groups = cut
    kept = engine.rows_of_runs(reading, one_array(found.column("number")), kinds)
    table = with_attributes(engine, reading, found, written.attributes, kept)
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
    keys = range(len(question.order_keys))
    groups = np.arange(found.num_rows, dtype=np.int64)
    if question.has_ties and found.num_rows > 1:
        groups = groups_of(found, keys)
        starts_within = before and n and groups[0] == groups[1]
        ends_within = n and before + n < found.num_rows and groups[before + n - 1] == groups[before + n]
        if starts_within or ends_within:
            return None
    groups = groups[before : before + n]
    return page.drop_columns([f"key_{key}" for key in keys]), groups - (groups[0] if n else 0)
