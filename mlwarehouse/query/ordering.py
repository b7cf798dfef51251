"""Steps: read the order-by list, and write the order.

The order is MLflow's: missing values come last in either direction, NaN before them, and after the given entries the
latest start comes first, then the run's id decides.
"""

from __future__ import annotations

import re
from dataclasses import replace

from mlwarehouse.errors import FilterError
from mlwarehouse.query.dialect import parse_expression
from mlwarehouse.query.fields import NUMBER
from mlwarehouse.query.names import Name, order_entry
from mlwarehouse.query.question import OrderEntry, Question
from mlwarehouse.query.spelling import said_name

_DIRECTION = re.compile(r"\s(?P<direction>asc|desc)\s*$", re.IGNORECASE)


def read_order(question: Question) -> Question:
    """Parse the order-by list.

    Raises:
        FilterError: An entry isn't a name with ``ASC`` or ``DESC`` after it or nothing.
    """
    return replace(question, order=tuple(_read(entry) for entry in question.order_by))


def write_order(question: Question) -> Question:
    """Turn the order into terms of SQL.

    Raises:
        FilterError: A name stands in it twice.
    """
    terms: list[tuple[str, str]] = []
    seen: set[Name] = set()
    for entry in question.order:
        name = entry.name.meaning(question.known_series)
        if name in seen:
            raise FilterError(f"The order-by list names `{said_name(name)}` twice; leave one out.")
        seen.add(name)
        column = question.references.placed(question.references.column(name)).sql(dialect="duckdb")
        if name.kind == "metric" or name.stat == NUMBER:
            terms.append((f"CASE WHEN {column} IS NULL THEN 2 WHEN ISNAN({column}) THEN 1 ELSE 0 END", "ASC"))
        terms.append((column, f"{'DESC' if entry.is_descending else 'ASC'} NULLS LAST"))
    if Name("attribute", "start_time") not in seen:
        terms.append(("runs.started_at", "DESC NULLS LAST"))
    by_id = Name("attribute", "run_id") in seen
    if not by_id and not question.is_narrow:
        terms.append(("runs.run_id", "ASC"))
    return replace(
        question,
        order_terms=tuple(f"{key} {direction}" for key, direction in terms),
        order_keys=tuple(key for key, _ in terms),
        has_ties=question.is_narrow and not by_id,
    )


def _read(text: str) -> OrderEntry:
    match = _DIRECTION.search(text)
    node = parse_expression(text[: match.start()] if match else text, what="order-by entry")
    return OrderEntry(order_entry(text, node), match is not None and match["direction"].lower() == "desc")
