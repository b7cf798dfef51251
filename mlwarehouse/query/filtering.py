"""Steps: read the filter, and write it as a condition."""

from __future__ import annotations

from dataclasses import replace

from mlwarehouse.query.conditions import condition
from mlwarehouse.query.dialect import parse_expression
from mlwarehouse.query.question import Question


def read_filter(question: Question) -> Question:
    """Parse the filter.

    Raises:
        FilterError: It doesn't parse.
    """
    return replace(question, filter=parse_expression(question.filter_string, what="filter"))


def write_filter(question: Question) -> Question:
    """Turn the filter into a condition.

    Raises:
        FilterError: It says something that isn't in the filter language.
    """
    if question.filter is None:
        return question
    tree = condition(question.filter, question.references, question.known_series)
    return replace(question, where=(*question.where, f"({tree.sql(dialect='duckdb')})"))
