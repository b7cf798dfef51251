"""The last step, which writes the question for one page of runs, and the tuple of all steps."""

from __future__ import annotations

from dataclasses import replace

from mlwarehouse.query.fields import ATTRIBUTES_BY_NAME
from mlwarehouse.query.filtering import read_filter, write_filter
from mlwarehouse.query.ordering import read_order, write_order
from mlwarehouse.query.question import Question, Step
from mlwarehouse.query.scoping import write_scope


def write_page(question: Question) -> Question:
    """Put the parts together.

    The result has the run's number, the wanted attributes, and for each reference a column ``has_<alias>`` that says
    whether the run has such a metric, param or tag.
    """
    references = question.references.by_name.values()
    selected = ["runs.number AS number"]
    selected += [f"{ATTRIBUTES_BY_NAME[name].sql} AS {name}" for name in question.attributes]
    selected += [f"{r.alias}.number IS NOT NULL AS has_{r.alias}" for r in references]
    lines = [
        f"SELECT {', '.join(selected)}",
        "FROM numbered_runs AS runs",
        *question.references.joins(),
        *([f"WHERE {' AND '.join(question.where)}"] if question.where else []),
        f"ORDER BY {', '.join(question.order_terms)}",
        f"LIMIT {int(question.limit)} OFFSET {int(question.offset)}",
    ]
    return replace(question, sql="\n".join(lines))


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
