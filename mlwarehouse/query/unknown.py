"""Names that could be read in two ways, and names that nothing has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlglot import exp

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.errors import FilterError, WarehouseError, did_you_mean
from mlwarehouse.query.names import Name, WrittenName, read_name
from mlwarehouse.query.question import Question, Scope
from mlwarehouse.query.references import SERIES, References
from mlwarehouse.query.scoping import runs_in_scope
from mlwarehouse.query.spelling import said_name

CHECKED: dict[str, str] = {
    "metric": f"SELECT DISTINCT {SERIES} AS known FROM metrics",
    "param": "SELECT DISTINCT key AS known FROM param_events",
}
"""Kinds whose unknown keys are mistakes, and where to find the known ones. Tags come and go: any may be asked for."""


def doubtful_keys(question: Question) -> list[str]:
    """The series whose existence decides what the names of a filter and an order mean."""
    written: list[WrittenName | None] = [entry.name for entry in question.order]
    if question.filter is not None:
        written += [_name_at(node) for node in question.filter.walk(prune=lambda n: _name_at(n) is not None)]
    return [name.doubtful_key for name in written if name is not None and name.doubtful_key is not None]


def _name_at(node: exp.Expr) -> WrittenName | None:
    """The name at a node. One that can't be meant is refused where its place is known, when the filter is written."""
    try:
        return read_name(node)
    except FilterError:
        return None


def existing_series(engine: Engine, reading: Reading | None, scope: Scope, candidates: Sequence[str]) -> frozenset[str]:
    """Which of some series the runs of a scope have."""
    if not candidates:
        return frozenset()
    references = References()
    condition = references.series_condition(list(dict.fromkeys(candidates)))
    rows = engine.query(
        f"SELECT DISTINCT series FROM numbered_metric_summaries WHERE {condition} "
        f"AND number IN ({runs_in_scope(scope, references, column='number')})",
        reading=reading,
        parameters=references.parameters,
    )
    return frozenset(rows.column("series").to_pylist())


def refuse_unknown(
    engine: Engine, reading: Reading | None, scope: Scope, names: Iterable[Name], error: type[WarehouseError]
) -> None:
    """Refuse metrics and params that none of a scope's runs has, unless none has any of the kind yet.

    Args:
        engine: Answers the question.
        reading: The state to look at.
        scope: The runs searched.
        names: What to look for.
        error: What to raise.

    Raises:
        WarehouseError: Of the class `error`: says which, and what is there.
    """
    for name in names:
        if name.kind not in CHECKED:
            continue
        references = References()
        rows = engine.query(
            f"{CHECKED[name.kind]} WHERE run_id IN ({runs_in_scope(scope, references)})",
            reading=reading,
            parameters=references.parameters,
        )
        known = rows.column("known").to_pylist()
        if known and name.key not in known:
            raise error(
                f"Unknown {name.kind} `{said_name(name)}`: none of the searched runs has it."
                f"{did_you_mean(name.key, known)} ({len(known)} {name.kind} keys are known there.)"
            )
