"""Questions in other dialects than ours: where sqlglot keeps the words and loses the meaning.

sqlglot renders most of a dialect faithfully. What it doesn't, found by comparing answers, is here: each rule takes a
tree and mends it, or refuses the question. A wrong answer is worse than none.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from mlwarehouse.engines.base import Engine
from mlwarehouse.errors import SqlError, did_you_mean
from mlwarehouse.query.types import number_of, with_types

SPARK = frozenset({"spark", "spark2", "databricks", "hive"})
POSTGRES = frozenset({"postgres", "redshift", "materialize", "risingwave"})
PRESTO = frozenset({"presto", "trino", "athena"})
MICROSOFT = frozenset({"tsql", "fabric"})

_SUNDAY_IS_ZERO = POSTGRES | {"snowflake"}
"""Where days of the week are counted as DuckDB counts them."""

_WHOLE_UNITS = SPARK | PRESTO | {"mysql", "bigquery", "singlestore", "doris", "starrocks"}
"""Where a difference of times counts the units that have passed, and not the boundaries between them."""

SAME_EVERYWHERE = frozenset(
    "acos acosh asin asinh atan atan2 atanh cbrt cos cosh cot degrees exp factorial gcd lcm ln mod now pi power "
    "radians random repeat replace reverse sign sin sinh sqrt tan tanh translate trunc upper lower isfinite isinf age "
    "date_part to_char unnest generate_series string_to_array array_length array_position row".split()
)
"""Functions that sqlglot knows by name only, and that mean in DuckDB what they mean elsewhere."""


def mended(tree: exp.Query, dialect: str, engine: Engine) -> exp.Query:
    """A question of another dialect as DuckDB has to be asked it.

    Args:
        tree: The question as sqlglot has read it; it is changed.
        dialect: The dialect it is written in.
        engine: Knows the columns of views.

    Raises:
        SqlError: It says something that can't be said in DuckDB with the same meaning.
    """
    for refuse in REFUSALS:
        refuse(tree, dialect)
    _divide_and_add(tree, dialect, engine)
    for mend in MENDS:
        mend(tree, dialect)
    return tree


# Refusals.


def _ties_and_per_cent(tree: exp.Query, dialect: str) -> None:
    del dialect
    for options in tree.find_all(exp.LimitOptions):
        if options.args.get("with_ties"):
            raise SqlError("WITH TIES isn't known here; number the rows by rank() in a subquery and filter by it.")
        if options.args.get("percent"):
            raise SqlError("A limit in PERCENT isn't known here; compare percent_rank() in a subquery.")
    if any(limit.expressions for limit in tree.find_all(exp.Limit)):
        raise SqlError("LIMIT … BY isn't known here; use QUALIFY row_number() OVER (PARTITION BY …) <= n.")


def _days_of_the_week(tree: exp.Query, dialect: str) -> None:
    units = {"DOW", "DAYOFWEEK", "WEEKDAY", "DW"}
    named = any(
        isinstance(node, exp.DayOfWeek) or (isinstance(node, exp.Extract) and node.name.upper() in units)
        for node in tree.find_all(exp.DayOfWeek, exp.Extract)
    )
    if named and dialect not in _SUNDAY_IS_ZERO:
        raise SqlError(
            f"Days of the week have other numbers in {dialect} than here; ask with the dialect `duckdb` for "
            "isodow(…), which is 1 on Monday and 7 on Sunday."
        )


def _row_numbers_of_oracle(tree: exp.Query, dialect: str) -> None:
    if dialect == "oracle" and any(c.name.upper() == "ROWNUM" for c in tree.find_all(exp.Column, exp.Pseudocolumn)):
        raise SqlError("ROWNUM isn't known here; use FETCH FIRST n ROWS ONLY, or row_number() OVER (ORDER BY …).")


def _classes_in_patterns(tree: exp.Query, dialect: str) -> None:
    if dialect in MICROSOFT:
        for like in tree.find_all(exp.Like, exp.ILike):
            if "[" in like.expression.name:
                raise SqlError("A LIKE pattern with [ ] isn't known here; ask with the dialect `duckdb` and a regexp.")


def _unknown_functions(tree: exp.Query, dialect: str) -> None:
    for call in tree.find_all(exp.Anonymous, exp.AnonymousAggFunc):
        name = call.name.lower()
        if name not in SAME_EVERYWHERE:
            raise SqlError(
                f"The function `{call.name}` of {dialect} can't be translated.{did_you_mean(name, SAME_EVERYWHERE)} "
                "Ask with the dialect `duckdb` for DuckDB's own functions."
            )


REFUSALS: tuple[Callable[[exp.Query, str], None], ...] = (
    _ties_and_per_cent,
    _days_of_the_week,
    _row_numbers_of_oracle,
    _classes_in_patterns,
    _unknown_functions,
)
"""What can't be said with the same meaning."""


# What depends on types.


def _divide_and_add(tree: exp.Query, dialect: str, engine: Engine) -> None:
    """Division of whole numbers where it gives a whole number, and ``+`` where it joins texts."""
    divisions = [d for d in tree.find_all(exp.Div) if d.args.get("typed")]
    sums = list(tree.find_all(exp.Add)) if dialect in MICROSOFT else []
    if not divisions and not sums:
        return
    typed = with_types(tree, dialect, engine)
    for node in [*divisions, *sums]:
        like = typed.get(number_of(node))
        left, right = (like.left, like.right) if isinstance(like, exp.Binary) else (node.left, node.right)
        if isinstance(node, exp.Add):
            if left.is_type(*exp.DataType.TEXT_TYPES) or right.is_type(*exp.DataType.TEXT_TYPES):
                node.replace(exp.DPipe(this=node.this, expression=node.expression, safe=True))
        elif left.is_type(*exp.DataType.INTEGER_TYPES) and right.is_type(*exp.DataType.INTEGER_TYPES):
            node.replace(exp.IntDiv(this=node.this, expression=node.expression))
        elif not (_is_known_fraction(left) or _is_known_fraction(right)):
            raise SqlError(
                f"In {dialect} `/` of whole numbers gives a whole number, and it can't be told whether both sides of "
                f"`{node.sql(dialect)}` are; cast one side to DOUBLE PRECISION, or both to BIGINT."
            )


def _is_known_fraction(node: exp.Expr) -> bool:
    return node.is_type(*exp.DataType.REAL_TYPES) or node.is_type(*exp.DataType.TEMPORAL_TYPES)


# Mends.


def _whole_units_passed(tree: exp.Query, dialect: str) -> None:
    """DuckDB's ``date_diff`` counts boundaries; its ``date_sub`` counts what has passed."""
    if dialect not in _WHOLE_UNITS:
        return
    for node in list(tree.find_all(exp.DateDiff, exp.TimestampDiff, exp.DatetimeDiff)):
        unit = node.args.get("unit")
        if unit is None or (dialect == "bigquery" and isinstance(node, exp.DateDiff)):
            continue  # whole days between dates: the same either way
        end, start = (exp.cast(side, "timestamp") for side in (node.this, node.expression))
        part = exp.Literal.string(unit.name.lower())
        node.replace(exp.Anonymous(this="date_sub", expressions=[part, start, end]))


def _texts_of_a_length(tree: exp.Query, dialect: str) -> None:
    """A cast to VARCHAR(n) cuts; DuckDB ignores the n."""
    del dialect
    for node in list(tree.find_all(exp.Cast, exp.TryCast, exp.Convert)):
        to = node.args["this" if isinstance(node, exp.Convert) else "to"]
        if to.is_type(*exp.DataType.TEXT_TYPES) and to.expressions:
            length = to.expressions[0].this
            to.set("expressions", None)
            node.replace(exp.Left(this=node.copy(), expression=length.copy()))


def _plain_times(tree: exp.Query, dialect: str) -> None:
    """``TIMESTAMP '…'`` of Presto has a precision of its own, which DuckDB takes for another type."""
    if dialect in PRESTO:
        for node in tree.find_all(exp.DataType):
            if node.is_type("timestamp", "timestamptz") and node.expressions:
                node.set("expressions", None)


def _texts_in_json(tree: exp.Query, dialect: str) -> None:
    """A text taken out of JSON comes without its quotes."""
    for node in list(tree.find_all(exp.JSONExtract)):
        outer = node.parent
        is_text = isinstance(outer, exp.Cast) and outer.to.is_type(*exp.DataType.TEXT_TYPES)
        if dialect == "databricks" or (dialect == "snowflake" and is_text):
            node.replace(exp.JSONExtractScalar(**{k: v for k, v in node.args.items() if k in ("this", "expression")}))
    for value in list(tree.find_all(exp.JSONValue)):
        path = value.args.get("path")
        if dialect == "oracle" and path is not None:
            value.replace(exp.JSONExtractScalar(this=value.this, expression=_json_path(path)))


def _json_path(path: exp.Expr) -> exp.Expr:
    return path if not path.is_string else exp.maybe_parse(f"j -> '{path.name}'", dialect="duckdb").expression


def _quantiles_between(tree: exp.Query, dialect: str) -> None:
    """``percentile`` of Spark and ``quantile`` of ClickHouse lie between two values where need be."""
    if dialect in SPARK or dialect == "clickhouse":
        for node in list(tree.find_all(exp.Quantile)):
            node.replace(exp.PercentileCont(this=node.this, expression=node.args["quantile"]))


def _patterns_of_sqlite(tree: exp.Query, dialect: str) -> None:
    """SQLite's LIKE takes no note of capitals."""
    if dialect == "sqlite":
        for node in list(tree.find_all(exp.Like)):
            node.replace(exp.ILike(this=node.this, expression=node.expression))


def _texts_of_oracle(tree: exp.Query, dialect: str) -> None:
    """In Oracle the empty text is null, and joining texts passes over null."""
    if dialect != "oracle":
        return
    for pipe in list(tree.find_all(exp.DPipe)):
        if not isinstance(pipe.parent, exp.DPipe):
            parts = [part.copy() for part in pipe.flatten()]
            joined = exp.Anonymous(this="concat", expressions=parts)
            pipe.replace(
                exp.func("NULLIF", joined, exp.Cast(this=exp.Literal.string(""), to=exp.DataType.build("text")))
            )
    for text in list(tree.find_all(exp.Literal)):
        if text.is_string and text.this == "" and not isinstance(text.parent, exp.Cast):
            text.replace(exp.null())


def _dual(tree: exp.Query, dialect: str) -> None:
    """The table that stands for none."""
    del dialect
    for select in tree.find_all(exp.Select):
        source = select.args.get("from_")
        if source is not None and source.this.name.lower() == "dual" and not select.args.get("joins"):
            select.set("from_", None)


MENDS: tuple[Callable[[exp.Query, str], None], ...] = (
    _whole_units_passed,
    _texts_of_a_length,
    _plain_times,
    _texts_in_json,
    _quantiles_between,
    _patterns_of_sqlite,
    _texts_of_oracle,
    _dual,
)
"""What is put right."""
