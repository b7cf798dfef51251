"""The last step, which writes the question for one page of runs, and the tuple of all steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlwarehouse.query.fields import ATTRIBUTES_BY_NAME
from mlwarehouse.query.filtering import read_filter, write_filter
from mlwarehouse.query.ordering import read_order, write_order
from mlwarehouse.query.question import Question, Step
from mlwarehouse.query.references import CHOSEN, References
from mlwarehouse.query.scoping import run_condition, write_scope


def write_page(question: Question) -> Question:
    """Put the parts together.

    The result has the run's number, and for each reference a column ``has_<alias>`` that says whether the run has such
    a metric, param or tag. Then the wanted attributes; or, of a narrow question, the order's keys as ``key_<n>``, and
    one row more at either end, which tells whether runs equal in these are on both sides of it.
    """
    references = question.references.by_name.values()
    selected = ["runs.number AS number"]
    first, limit = question.offset, question.limit
    if question.is_narrow:
        selected += [f"{key} AS key_{i}" for i, key in enumerate(question.order_keys)]
        first = max(first - 1, 0)
        limit += question.offset - first + 1
    else:
        selected += [f"{ATTRIBUTES_BY_NAME[name].sql} AS {name}" for name in question.attributes]
    selected += [f"{'TRUE' if r.is_required else f'{r.alias}.number IS NOT NULL'} AS has_{r.alias}" for r in references]
    lines = [
        f"SELECT {', '.join(selected)}",
        "FROM numbered_runs AS runs",
        *question.references.joins(),
        *([f"WHERE {' AND '.join(question.where)}"] if question.where else []),
        f"ORDER BY {', '.join(question.order_terms)}",
        f"LIMIT {min(limit, MOST)} OFFSET {first}",
    ]
    if question.chosen:
        # As a whole: an optimizer that takes it apart joins a million runs before it compares anything.
        lines.insert(0, f"WITH {CHOSEN} AS MATERIALIZED ({question.references.choice(question.chosen)})")
        lines.insert(3, f"INNER JOIN {CHOSEN} ON {CHOSEN}.number = runs.number")
    return replace(question, sql="\n".join(lines))


def write_attributes(attributes: Sequence[str], numbers: Sequence[int | str], references: References) -> str:
    """The question for attributes of some runs, by their numbers; with ``number``.

    Args:
        attributes: Their names.
        numbers: The runs' numbers.
        references: Gets the parameters.
    """
    columns = [f"{ATTRIBUTES_BY_NAME[name].sql} AS {name}" for name in attributes]
    where = run_condition(numbers, references, column="runs.number")
    return f"SELECT {', '.join(['runs.number AS number', *columns])} FROM numbered_runs AS runs WHERE {where}"


MOST = 2**63 - 1
"""The largest limit that SQL can say."""

READ_STEPS: tuple[Step, ...] = (read_filter, read_order)
"""The steps before the tables are asked about doubtful names."""

WRITE_STEPS: tuple[Step, ...] = (write_filter, write_order, write_scope, write_page)
"""The steps after it."""


def run_steps(question: Question, steps: tuple[Step, ...]) -> Question:
    """Pass a question through some steps.

    Raises:
        FilterError: See the steps.
    """
    for step in steps:
        question = step(question)
    return question
