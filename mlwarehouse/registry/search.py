"""Searches: short filters to SQL over the registry's views."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlwarehouse.errors import FilterError, did_you_mean

_CLAUSE = re.compile(
    r"""\s*(?P<key>[A-Za-z_]\w*)\s*(?P<operator>=|!=|LIKE\b|ILIKE\b)\s*(?P<quote>['"])(?P<value>.*?)(?P=quote)\s*""",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Condition:
    """A condition for a `WHERE`.

    Attributes:
        sql: The text, ``true`` when there is no condition.
        parameters: Values of its ``$`` marks.
    """

    sql: str
    parameters: dict[str, str]


def condition(filter_string: str | None, keys: tuple[str, ...]) -> Condition:
    """Read clauses ``key = 'text'``, joined by ``AND``.

    Args:
        filter_string: The filter; None or empty for no condition. Operators are ``=``, ``!=``, ``LIKE``, ``ILIKE``.
        keys: The columns it may name.

    Raises:
        FilterError: It has another form, or names another column.
    """
    rest = (filter_string or "").strip()
    clauses: list[str] = []
    parameters: dict[str, str] = {}
    while rest:
        found = _CLAUSE.match(rest)
        joint = re.match(r"AND\b|$", rest[found.end() :], re.IGNORECASE) if found else None
        if found is None or joint is None:
            raise FilterError(
                f"The filter `{filter_string}` isn't understood at `{rest}`; write {keys[0]} = 'text', "
                "several joined by AND."
            )
        key = found["key"].lower()
        if key not in keys:
            raise FilterError(
                f"The filter `{filter_string}` names `{key}`; it can name {', '.join(keys)}.{did_you_mean(key, keys)}"
            )
        mark = f"value_{len(clauses)}"
        clauses.append(f"{key} {found['operator'].upper()} ${mark}")
        parameters[mark] = found["value"]
        rest = rest[found.end() + joint.end() :].strip()
        if joint.end() and not rest:
            raise FilterError(f"The filter `{filter_string}` ends with AND; add a clause or leave AND out.")
    return Condition(" AND ".join(clauses) or "true", parameters)
