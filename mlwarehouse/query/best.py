"""The best runs by what a filter requires, found before the runs themselves are looked at.

A search over all experiments whose order is by required metrics, params or tags needs the table of runs only to leave
out deleted ones, which are few, and to put those in order that are equal otherwise. So the best are taken first, some
more than the page has, and of those it is looked up. Where that doesn't fill the page, the question is asked in full.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.arrays import one_array
from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import ViewType
from mlwarehouse.query.filtering import write_filter
from mlwarehouse.query.ordering import write_order
from mlwarehouse.query.page_rows import groups_of, with_attributes
from mlwarehouse.query.paging import run_steps
from mlwarehouse.query.question import Question
from mlwarehouse.query.references import CHOSEN, References

LARGEST = 100_000
"""The largest page for which this is done: each of its runs is looked up by itself."""

SPARE = 100
"""So many runs more are taken than the page has, and a tenth."""


def find_best(engine: Engine, reading: Reading, question: Question) -> tuple[pa.Table, Question] | None:
    """Ask for the best runs first.

    Args:
        engine: Answers the questions; one that keeps rows by run.
        reading: The state to look at.
        question: The question, read, narrow and not yet written.

    Returns:
        The rows that the narrow question has, see `mlwarehouse.query.paging.write_page`, and the question as it was
        written; None where it isn't of this kind, or the runs that were taken don't fill the page.
    """
    needed = question.offset + question.limit + 1
    if question.scope.experiment_ids is not None or question.scope.run_ids is not None or needed > LARGEST:
        return None
    written = run_steps(replace(question, references=References()), (write_filter, write_order))
    names = [entry.name.meaning(question.known_series) for entry in question.order]
    if not names or not written.chosen or written.where or any(name.kind == "attribute" for name in names):
        return None
    if not all(reference.is_required for reference in written.references.by_name.values()):
        return None
    n = needed + needed // 10 + SPARE
    # The last key is the runs' start, and the only one that isn't among what is chosen.
    keys = [f"{key} AS key_{i}" for i, key in enumerate(written.order_keys[:-1])]
    has = [f"TRUE AS has_{reference.alias}" for reference in written.references.by_name.values()]
    n = needed + needed // 10 + SPARE
    sql = (
        f"WITH {CHOSEN} AS MATERIALIZED ({written.references.choice(written.chosen)}) "
        f"SELECT {CHOSEN}.number, {', '.join(keys + has)} FROM {CHOSEN} "
        f"ORDER BY {', '.join(written.order_terms[:-1])} LIMIT {n}"
    )
    found = engine.query(sql, reading=reading, parameters=written.references.parameters)
    is_cut = found.num_rows == n
    groups = groups_of(found, range(len(keys)))
    if is_cut:
        # Of those that are equal to the last one there may be more.
        groups = groups[groups < groups[-1]]
        found = found.slice(0, len(groups))
    rows = _in_scope(engine, reading, question, found.append_column("group", pa.array(groups)))
    if is_cut and rows.num_rows < needed:
        return None
    order = [("group", "ascending"), (f"key_{len(keys)}", "descending")]
    rows = rows.take(pc.sort_indices(rows, sort_keys=order)).drop_columns(["group"])
    first = max(question.offset - 1, 0)
    return rows.slice(first, needed - first), replace(written, sql=sql)


def _in_scope(engine: Engine, reading: Reading, question: Question, found: pa.Table) -> pa.Table:
    """The runs that the question is about, with their start as the last key."""
    kept = engine.rows_of_runs(reading, one_array(found.column("number")), ())
    rows = with_attributes(engine, reading, found, ("experiment_id", "lifecycle_stage", "start_time"), kept)
    active = engine.query("SELECT experiment_id FROM experiments WHERE lifecycle_stage = 'active'", reading=reading)
    is_asked = pc.and_(
        pc.is_in(rows.column("experiment_id"), value_set=one_array(active.column("experiment_id"))),
        pc.is_valid(rows.column("start_time")),
    )
    if question.scope.view_type != ViewType.ALL:
        stage = "active" if question.scope.view_type == ViewType.ACTIVE_ONLY else "deleted"
        is_asked = pc.and_(is_asked, pc.fill_null(pc.equal(rows.column("lifecycle_stage"), stage), False))
    n_keys = sum(name.startswith("key_") for name in found.column_names)
    rows = rows.append_column(f"key_{n_keys}", rows.column("start_time"))
    return rows.filter(is_asked).drop_columns(["experiment_id", "lifecycle_stage", "start_time"])
