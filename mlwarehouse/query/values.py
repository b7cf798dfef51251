"""The right-hand sides of a filter: which values a name can be compared with, and how times are."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable

from sqlglot import exp

from mlwarehouse.errors import FilterError

Value = float | int | str | None
"""A constant of a filter; None is NULL."""

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def read_value(node: exp.Expr) -> Value:
    """Read a constant.

    Raises:
        FilterError: The node isn't a number, a quoted text, or NULL.
    """
    if isinstance(node, exp.Null):
        return None
    if isinstance(node, exp.Neg):
        value = read_value(node.this)
        if isinstance(value, int | float):
            return -value
    elif isinstance(node, exp.Literal):
        return str(node.this) if node.is_string else _number(str(node.this))
    elif isinstance(node, exp.Paren):
        return read_value(node.this)
    raise FilterError(f"`{show(node)}` must be a number or a text in quotes.")


def show(node: exp.Expr) -> str:
    """A node as a person would write it, for error messages."""
    return node.sql(dialect="mysql", identify=False)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def compare_time(
    column: exp.Expr, operator: type[exp.Expr], value: Value, bind: Callable[[object], exp.Expr], name: str
) -> exp.Expr:
    """Compare a time with milliseconds since the epoch, or with an ISO 8601 text (UTC unless it says otherwise).

    Columns hold microseconds. A whole number of milliseconds stands for all the microseconds in it, as if the column
    were cut to milliseconds; the column itself stays bare, so that files can be skipped by their statistics.

    Args:
        column: The column, a timestamp.
        operator: A comparison.
        value: What to compare with.
        bind: Makes a parameter of a value.
        name: What the user wrote, for error messages.

    Raises:
        FilterError: The value is no time.
    """
    if isinstance(value, str):
        return operator(this=column, expression=bind(_iso(value, name)))
    if value is None or not math.isfinite(value):
        raise FilterError(
            f"`{name}` is compared with milliseconds since the epoch or a quoted time such as '2026-11-01'; "
            f"got {value}."
        )
    begin, end = _moment(math.ceil(value), name), _moment(math.floor(value) + 1, name)

    def test(comparison: type[exp.Expr], moment: dt.datetime) -> exp.Expr:
        return comparison(this=column.copy(), expression=bind(moment))

    match operator:
        case exp.GTE:
            return test(exp.GTE, begin)
        case exp.GT:
            return test(exp.GTE, end)
        case exp.LT:
            return test(exp.LT, begin)
        case exp.LTE:
            return test(exp.LT, end)
        case exp.EQ:
            return exp.paren(exp.and_(test(exp.GTE, begin), test(exp.LT, end)))
        case _:
            return exp.paren(exp.or_(test(exp.LT, begin), test(exp.GTE, end)))


def _moment(milliseconds: int, name: str) -> dt.datetime:
    try:
        return EPOCH + dt.timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise FilterError(f"`{name}` is compared with {milliseconds}, which is no time in milliseconds.") from None


def _iso(text: str, name: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise FilterError(
            f"`{name}` is compared with '{text}', which is no time; write milliseconds since the epoch or a quoted "
            "time such as '2026-11-01' or '2026-11-01T09:30:00+01:00'."
        ) from None
    return moment.replace(tzinfo=moment.tzinfo or dt.UTC)
