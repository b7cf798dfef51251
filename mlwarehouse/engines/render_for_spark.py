"""Questions for Spark: what sqlglot would hand over in words that mean something else there.

Found by comparing both engines' answers. Views keep to what is proven on both; questions are free, and are checked.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from mlwarehouse.errors import SqlError


def for_spark(tree: exp.Query) -> exp.Query:
    """A question in DuckDB's meaning, as Spark has to be asked it.

    Args:
        tree: The question; it is changed.

    Raises:
        SqlError: Spark has no words for it.
    """
    for node in list(tree.walk()):
        for kind, words in REFUSED.items():
            if isinstance(node, kind):
                raise SqlError(f"{words} isn't known to Spark as it is to DuckDB; ask with `engine='embedded'`.")
        for check in CHECKS:
            check(node)
    for log in list(tree.find_all(exp.Log)):
        if log.args.get("expression") is None:  # to the base 10 in DuckDB, and e in Spark
            log.replace(exp.Log(this=exp.Literal.number(10), expression=log.this))
    for difference in list(tree.find_all(exp.DateDiff)):
        # DuckDB counts boundaries, and Spark the units that have passed: between boundaries they are the same.
        unit = difference.args.get("unit")
        for side in ("this", "expression"):
            trunc = exp.TimestampTrunc(this=difference.args[side].copy(), unit=unit.copy() if unit else exp.var("DAY"))
            difference.set(side, trunc)
    return tree


REFUSED: dict[type[exp.Expr], str] = {
    exp.DayOfWeek: "The number of a day of the week",
    exp.DayOfWeekIso: "The number of a day of the week",
    exp.Format: "format(…)",
    exp.Quantile: "quantile(…), which takes one of the values,",
    exp.Slice: "A slice",
    exp.TimeToUnix: "epoch(…) with its fractions",
    exp.Columns: "COLUMNS(…)",
}
"""Expressions that Spark would take for others."""


def _joins(node: exp.Expr) -> None:
    if isinstance(node, exp.Join) and (node.method or "").upper() in ("ASOF", "POSITIONAL"):
        raise SqlError(f"{node.method.upper()} JOIN isn't known to Spark; ask with `engine='embedded'`.")


def _orders_in_lists(node: exp.Expr) -> None:
    if isinstance(node, exp.ArrayAgg) and node.find(exp.Order):
        raise SqlError("Spark loses the ORDER BY within a list; sort the list by list_sort(…), or join texts.")


def _qualify(node: exp.Expr) -> None:
    outer = ("limit", "offset", "order", "distinct")
    if isinstance(node, exp.Select) and node.args.get("qualify") and any(node.args.get(k) for k in outer):
        raise SqlError("For Spark, put the SELECT with QUALIFY into a subquery, and its ORDER BY and LIMIT around it.")


def _per_cent(node: exp.Expr) -> None:
    if isinstance(node, exp.LimitOptions) and (node.args.get("percent") or node.args.get("with_ties")):
        raise SqlError("A limit in per cent isn't known to Spark; ask with `engine='embedded'`.")


def _days_of_the_week(node: exp.Expr) -> None:
    if isinstance(node, exp.Extract) and node.name.upper() in ("DOW", "DAYOFWEEK", "ISODOW", "WEEKDAY"):
        raise SqlError(
            f"{REFUSED[exp.DayOfWeek]} isn't known to Spark as it is to DuckDB; ask with `engine='embedded'`."
        )


def _places_from_the_end(node: exp.Expr) -> None:
    if isinstance(node, exp.Bracket) and any(isinstance(e, exp.Neg) for e in node.expressions):
        raise SqlError("A place counted from the end of a list isn't known to Spark; ask with `engine='embedded'`.")


CHECKS: tuple[Callable[[exp.Expr], None], ...] = (
    _joins,
    _orders_in_lists,
    _qualify,
    _per_cent,
    _days_of_the_week,
    _places_from_the_end,
)
"""What can be seen of a node and its arguments."""
