"""Steps and helpers that say which runs a question is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlwarehouse.entities import ViewType
from mlwarehouse.query.question import Question, Scope
from mlwarehouse.query.references import References

LISTED_RUNS = 2048
"""Up to so many runs are listed one by one, which lets files and rows be skipped; more are joined."""

LISTED_NUMBERS = 8


def write_scope(question: Question) -> Question:
    """Add the conditions of the scope."""
    return replace(question, where=(*scope_conditions(question.scope, question.references), *question.where))


def scope_conditions(scope: Scope, references: References) -> tuple[str, ...]:
    """The conditions of a scope over the view `runs`, in SQL."""
    conditions = []
    if scope.run_ids is not None:
        conditions.append(run_condition(scope.run_ids, references, column="runs.run_id"))
    if scope.experiment_ids is not None:
        marks = ", ".join(references.mark(i) for i in scope.experiment_ids)
        conditions.append(f"runs.experiment_id IN ({marks})" if marks else "FALSE")
    elif scope.run_ids is None:
        conditions.append(
            "runs.experiment_id IN (SELECT experiment_id FROM experiments WHERE lifecycle_stage = 'active')"
        )
    if scope.view_type != ViewType.ALL:
        stage = "active" if scope.view_type == ViewType.ACTIVE_ONLY else "deleted"
        conditions.append(f"runs.lifecycle_stage = '{stage}'")
    return tuple(conditions)


def runs_in_scope(scope: Scope, references: References, *, column: str = "run_id") -> str:
    """A query for the ids, or the numbers, of a scope's runs, in SQL."""
    conditions = scope_conditions(scope, references)
    return f"SELECT runs.{column} FROM numbered_runs AS runs" + (
        f" WHERE {' AND '.join(conditions)}" if conditions else ""
    )


def run_condition(run_ids: Sequence[int | str], references: References, *, column: str = "run_id") -> str:
    """A condition that holds for some runs, in SQL.

    A short list becomes marks, padded to a power of two by repeating its last entry: so a few texts serve all lists,
    and what an engine remembers about a text is used again.
    """
    if not run_ids:
        return "FALSE"
    # A list of numbers is looked through for each row; joining them skips as much and is faster from few on.
    if len(run_ids) > (LISTED_NUMBERS if isinstance(run_ids[0], int) else LISTED_RUNS):
        return f"{column} IN (SELECT UNNEST({references.mark(list(run_ids))}))"
    size = 1 << (len(run_ids) - 1).bit_length()
    padded = [*run_ids, *[run_ids[-1]] * (size - len(run_ids))]
    return f"{column} IN ({', '.join(references.mark(i) for i in padded)})"
