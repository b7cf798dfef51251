"""Values in the text of a question for Spark.

Delta's SQL extension for Spark 4.2 drops the values that `spark.sql(args=...)` gives, so they stand in the text, as
nodes of the question's tree that no value can break out of. Spark also replaces ``${...}`` in a text, inside quotes
too; what could be taken for that is written in hexadecimal.
"""

from __future__ import annotations

import datetime as dt
import decimal
import re
from collections.abc import Mapping
from typing import Any, cast

from sqlglot import exp

from mlwarehouse.errors import SqlError

_HARMLESS = re.compile(r"[\w .,:;/@+=%#()<>{}|~!?*-]*", re.ASCII)


def bound(tree: exp.Query, parameters: Mapping[str, Any]) -> exp.Query:
    """Put values in the place of a question's ``$name`` marks, and make its own texts safe from replacement.

    Args:
        tree: The question; it isn't changed.
        parameters: A value for each mark.

    Raises:
        SqlError: A value of a type that SQL has no literal for.
    """

    def put(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Placeholder | exp.Parameter):
            return _literal(node.name, parameters[node.name])
        if isinstance(node, exp.Literal) and node.is_string and "${" in node.this:
            return _text(node.this)
        return node

    result = tree.transform(put)
    return cast(exp.Query, result)  # the root is never replaced


def _literal(name: str, value: Any) -> exp.Expr:
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    if value is None:
        return exp.null()
    if isinstance(value, bool):
        return exp.true() if value else exp.false()
    if isinstance(value, int | decimal.Decimal):
        return exp.Paren(this=exp.Neg(this=exp.Literal.number(-value))) if value < 0 else exp.Literal.number(value)
    if isinstance(value, float):
        return exp.cast(exp.Literal.string(repr(value)), "double")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dt.datetime):
        moment = value.replace(tzinfo=value.tzinfo or dt.UTC).astimezone(dt.UTC)
        return exp.cast(exp.Literal.string(moment.isoformat(sep=" ", timespec="microseconds")), "timestamptz")
    if isinstance(value, dt.date):
        return exp.cast(exp.Literal.string(value.isoformat()), "date")
    if isinstance(value, list | tuple):
        return exp.Array(expressions=[_literal(name, v) for v in value])
    raise SqlError(
        f"The parameter `${name}` is of type {type(value).__name__}; give text, a number, a boolean, a date, a time, "
        "None, or a list of them."
    )


def _text(value: str) -> exp.Expr:
    if _HARMLESS.fullmatch(value):
        return exp.Literal.string(value)
    return exp.cast(exp.HexString(this=value.encode("utf-8").hex().upper()), "text")
