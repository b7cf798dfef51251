"""A filter's tree, turned into a condition over `runs` and what is joined to it.

SQL's own three-valued logic decides about what isn't there: a comparison with a missing value is neither true nor
false, and neither is its NOT, so the run doesn't match; only IS NULL asks for absence. Only the nodes handled here
can be in a filter: that is what makes it safe to run.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlglot import exp

from mlwarehouse.errors import FilterError, did_you_mean
from mlwarehouse.query.comparing import FOR_TEXT, PATTERNS, SIGNS, compare_names, is_numeric, may_be_nan
from mlwarehouse.query.dialect import parse_expression
from mlwarehouse.query.fields import ATTRIBUTES_BY_NAME
from mlwarehouse.query.names import Name, read_name
from mlwarehouse.query.references import References
from mlwarehouse.query.spelling import said_name
from mlwarehouse.query.values import Value, compare_time, read_value, show

COMPARISONS: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.EQ: exp.EQ,
    exp.NEQ: exp.NEQ,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
}
"""Comparisons, each with the one that says the same with the sides exchanged."""

NAMES: tuple[type[exp.Expr], ...] = (exp.Column, exp.Dot, exp.Anonymous)
"""Nodes that are names, if they can be meant."""


def order_term(term: str) -> tuple[exp.Expr, bool]:
    """The name in a term of an order, and whether ``DESC`` stands behind it.

    Raises:
        FilterError: It isn't a name with ``ASC``, ``DESC`` or nothing behind it.
    """
    name, _, direction = term.strip().rpartition(" ")
    if direction.upper() not in ("ASC", "DESC"):
        name, direction = term.strip(), "ASC"
    node = parse_expression(name, what="order")
    if node is None or not isinstance(node, NAMES):
        raise FilterError(f"The order `{term}` isn't a name, with ASC or DESC behind it.")
    return node, direction.upper() == "DESC"


def condition(node: exp.Expr, references: References, known_series: Collection[str]) -> exp.Expr:
    """Turn a filter, or a part of one, into a condition.

    Args:
        node: The filter's tree.
        references: Collects what it refers to.
        known_series: The series that exist among the doubtful names (`WrittenName.doubtful_key`).

    Returns:
        A condition over `runs` and the references' joins.

    Raises:
        FilterError: Anything that isn't in the filter language.
    """

    def deeper(part: exp.Expr) -> exp.Expr:
        return condition(part, references, known_series)

    if isinstance(node, exp.Paren):
        return exp.paren(deeper(node.this))
    if isinstance(node, exp.And | exp.Or):
        return type(node)(this=deeper(node.left), expression=deeper(node.right))
    if isinstance(node, exp.Not):
        if isinstance(node.this, exp.In) and _is_list(node.this):
            name = _name(node.this.this, known_series)
            if name.kind == "dataset":
                return _dataset_not_in(name, [read_value(v) for v in node.this.expressions], references)
        return exp.Not(this=exp.paren(deeper(node.this)))
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        return _is_null(_name(node.this, known_series), references)
    if isinstance(node, exp.Between) and not node.args.get("symmetric"):
        name = _name(node.this, known_series)
        low, high = read_value(node.args["low"]), read_value(node.args["high"])
        return exp.paren(
            exp.and_(_compare(name, exp.GTE, low, references), _compare(name, exp.LTE, high, references), wrap=False)
        )
    if isinstance(node, exp.In) and _is_list(node):
        name = _name(node.this, known_series)
        return _is_in(name, [read_value(v) for v in node.expressions], references)
    if isinstance(node, PATTERNS):
        name = _name(node.this, known_series)
        pattern = read_value(node.expression)
        matches = _compare(name, type(node), pattern, references)
        return exp.Not(this=exp.paren(matches)) if node.args.get("negate") else matches
    if type(node) in COMPARISONS:
        operator = type(node)
        left, right = node.this, node.expression
        if isinstance(right, NAMES) and not isinstance(left, NAMES):
            left, right, operator = right, left, COMPARISONS[operator]
        name = _name(left, known_series)
        if not isinstance(right, NAMES):
            return _compare(name, operator, read_value(right), references)
        if isinstance(right, exp.Column) and right.name not in ATTRIBUTES_BY_NAME and not right.table:
            raise FilterError(
                f"`{show(right)}` on the right of `{show(left)}` is a name, and there is no such attribute; a text "
                f"goes in quotes, as in {show(left)} {SIGNS[operator]} '{right.name}'."
            )
        return compare_names(name, operator, _name(right, known_series), references)
    raise FilterError(
        f"`{show(node)}` isn't a condition that a filter can have: those are comparisons (=, !=, <, <=, >, >=, LIKE, "
        "ILIKE, IN, BETWEEN, IS NULL), joined by AND, OR, NOT and parentheses."
    )


def _is_list(node: exp.In) -> bool:
    """Whether it is IN with a list of one or more values, not with a query or anything else."""
    return bool(node.expressions) and {arg for arg, value in node.args.items() if value} == {"this", "expressions"}


def _name(node: exp.Expr, known_series: Collection[str]) -> Name:
    written = read_name(node)
    if written is None:
        raise FilterError(
            f"`{show(node)}` isn't a name; a condition begins with one, as in `metrics.loss < 0.1`. Names with other "
            "characters than letters, digits and _ go in back-ticks, as in metrics.`val/loss`."
        )
    return written.meaning(known_series)


def _compare(name: Name, operator: type[exp.Expr], value: Value, references: References) -> exp.Expr:
    said = said_name(name)
    if value is None:
        raise FilterError(f"`{said}` is compared with NULL, which is never true; write `{said} IS NULL`.")
    if name.kind == "dataset":
        return _dataset(exp.column(name.key), name, operator, value, references)
    attribute = ATTRIBUTES_BY_NAME[name.key] if name.kind == "attribute" else None
    if attribute is not None and attribute.type == "time" and operator not in PATTERNS:
        return compare_time(references.column(name), operator, value, references.bind, said)
    is_number = not isinstance(value, str)
    if is_numeric(name) or (attribute is not None and attribute.type == "time"):
        if not is_number or operator in PATTERNS:
            raise FilterError(
                f"`{said}` is a number and is compared with numbers; got '{value}' after {SIGNS[operator]}."
            )
    elif not is_number:
        if operator not in FOR_TEXT:
            raise FilterError(
                f"`{said}` can't be compared by {SIGNS[operator]} with a text; for its value as a number leave out "
                f"the quotes, as in {said} {SIGNS[operator]} 0.01."
            )
        if attribute is not None and attribute.choices and operator not in PATTERNS and value not in attribute.choices:
            raise FilterError(
                f"`{said}` is never '{value}'; it is one of {', '.join(attribute.choices)}."
                f"{did_you_mean(str(value).upper() if said == 'status' else str(value), attribute.choices)}"
            )
    elif attribute is not None:
        raise FilterError(f"`{said}` is a text and is compared with texts in quotes; got {value}.")
    elif operator in PATTERNS:
        raise FilterError(f"`{said} {SIGNS[operator]}` needs a pattern in quotes; got {value}.")
    column = references.column(name, as_number=is_number)
    result = operator(this=column, expression=references.bind(_plain(value)))
    if operator in (exp.GT, exp.GTE) and is_number and may_be_nan(name):
        # Engines sort NaN above all numbers; here it is larger than none, as in Python and MLflow.
        return exp.paren(exp.and_(result, exp.Not(this=exp.IsNan(this=column.copy()))))
    return result


def _is_in(name: Name, values: list[Value], references: References) -> exp.Expr:
    said = said_name(name)
    if len({isinstance(v, str) for v in values}) > 1:
        raise FilterError(f"The list after `{said} IN` mixes texts and numbers.")
    attribute = ATTRIBUTES_BY_NAME[name.key] if name.kind == "attribute" else None
    if (attribute is not None and attribute.type == "time") or name.kind == "dataset":
        return exp.paren(exp.or_(*[_compare(name, exp.EQ, v, references) for v in values], wrap=False))
    tests = [_compare(name, exp.EQ, v, references) for v in values]
    return exp.In(this=tests[0].this, expressions=[test.expression for test in tests])


def _is_null(name: Name, references: References) -> exp.Expr:
    if name.kind == "dataset":
        field = exp.column(name.key)
        return exp.Not(this=_in_inputs(exp.Not(this=exp.Is(this=field, expression=exp.null()))))
    return exp.Is(this=references.column(name, must_exist=False), expression=exp.null())


def _dataset(
    field: exp.Expr, name: Name, operator: type[exp.Expr], value: float | int | str, references: References
) -> exp.Expr:
    if not isinstance(value, str) or operator not in FOR_TEXT:
        raise FilterError(
            f"`{said_name(name)}` is compared with a text in quotes by =, !=, LIKE, ILIKE or IN; got "
            f"{SIGNS[operator]} {value}."
        )
    return _in_inputs(operator(this=field, expression=references.bind(value)))


def _dataset_not_in(name: Name, values: list[Value], references: References) -> exp.Expr:
    """MLflow's NOT IN for datasets: one of the run's is none of these.

    NOT with parentheses says that none of the run's is any of them.
    """
    tests = []
    for value in values:
        if not isinstance(value, str):
            raise FilterError(f"The list after `{said_name(name)} NOT IN` has {value}; it must be of texts in quotes.")
        tests.append(exp.NEQ(this=exp.column(name.key), expression=references.bind(value)))
    return _in_inputs(exp.and_(*tests))


def _in_inputs(test: exp.Expr) -> exp.Expr:
    """Whether any of a run's datasets passes a test."""
    query = exp.select("run_id").from_("inputs").where(test)
    return exp.In(this=exp.column("run_id", table="runs"), query=query.subquery())


def _plain(value: Value) -> Value:
    return float(value) if isinstance(value, int) else value
