"""Steps: read the filter, and write it as a condition."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

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
    conditions = list(tree.unnest().flatten()) if isinstance(tree.unnest(), exp.And) else [tree]
    chosen: list[exp.Expr] = []
    # Among the runs of one experiment it is better to look at these first.
    if question.is_narrow and question.scope.experiment_ids is None:
        chosen = [c for c in conditions if question.references.require(c)]
    return replace(
        question,
        where=(*question.where, *(_text(question.references.placed(c)) for c in conditions if c not in chosen)),
        chosen=tuple(_text(c) for c in chosen),
    )


def _text(tree: exp.Expr) -> str:
    return f"({tree.sql(dialect='duckdb')})"
