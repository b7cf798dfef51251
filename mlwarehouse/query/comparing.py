"""What can be compared by what, and comparisons of two names of one run."""

from __future__ import annotations

from sqlglot import exp

from mlwarehouse.errors import FilterError
from mlwarehouse.query.fields import AT_STEP, ATTRIBUTES_BY_NAME, NUMBER
from mlwarehouse.query.names import Name
from mlwarehouse.query.references import References
from mlwarehouse.query.spelling import said_name

PATTERNS: tuple[type[exp.Expr], ...] = (exp.Like, exp.ILike)

FOR_TEXT: tuple[type[exp.Expr], ...] = (exp.EQ, exp.NEQ, *PATTERNS)
"""What a text can be compared by; the order of texts is asked by nobody on purpose, and '10' < '9' misleads."""

SIGNS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.Like: "LIKE",
    exp.ILike: "ILIKE",
}
"""Operators as they are written."""


def is_numeric(name: Name) -> bool:
    """Whether a name is a number and nothing else."""
    if name.kind == "attribute":
        return ATTRIBUTES_BY_NAME[name.key].type == "number"
    return name.kind == "metric" or name.stat == NUMBER


def may_be_nan(name: Name) -> bool:
    """Whether a name's number can be NaN."""
    return name.kind in ("param", "tag") or (name.kind == "metric" and name.stat in ("last", "first", "mean", AT_STEP))


def compare_names(left: Name, operator: type[exp.Expr], right: Name, references: References) -> exp.Expr:
    """Compare two names of a run.

    Two params or tags are compared as texts by = and !=, as numbers by the others and with what is a number. NaN is
    equal to nothing and larger than nothing, as in Python. A run that lacks one of them doesn't match.

    Args:
        left: What stands before the sign.
        operator: A comparison.
        right: What stands behind it.
        references: Collects what is referred to.

    Raises:
        FilterError: Their types differ, or the sign isn't for their type.
    """
    types = {_type(left), _type(right)}
    for name in (left, right):
        if name.kind == "dataset":
            raise FilterError(
                f"`{said_name(name)}` can't be compared with another name, since a run may have several datasets; "
                "compare it with a text in quotes."
            )
    as_number = "number" in types or (types == {"either"} and operator not in FOR_TEXT)
    if len(types - {"either"}) > 1 or types == {"either", "time"}:
        said = " and ".join(
            f"`{said_name(n)}` is a {'text' if _type(n) == 'either' else _type(n)}" for n in (left, right)
        )
        raise FilterError(f"{said}: names can be compared when their types are the same.")
    if "text" in types and operator not in FOR_TEXT:
        raise FilterError(
            f"`{said_name(left)}` and `{said_name(right)}` are texts; they can be compared by = and !=, not by "
            f"{SIGNS[operator]}."
        )
    one, other = (references.column(name, as_number=as_number) for name in (left, right))
    comparison = operator(this=one, expression=other)
    nan_tests = [
        exp.IsNan(this=column.copy())
        for name, column in ((left, one), (right, other))
        if as_number and may_be_nan(name)
    ]
    if not nan_tests:
        return comparison
    is_missing = exp.or_(*[exp.Is(this=c.copy(), expression=exp.null()) for c in (one, other)])
    # Engines take NaN for equal to itself and for the largest number.
    return (
        exp.Case()
        .when(is_missing, exp.null())
        .when(exp.or_(*nan_tests), exp.convert(operator is exp.NEQ))
        .else_(comparison)
    )


def _type(name: Name) -> str:
    if name.kind == "attribute":
        return ATTRIBUTES_BY_NAME[name.key].type
    if is_numeric(name):
        return "number"
    return "text" if name.kind == "dataset" else "either"
