"""SQL as a tree: one place that parses, and that knows which names a query leaves to others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from mlwarehouse.errors import SqlError, did_you_mean
from mlwarehouse.tables.views import view

OWN_DIALECT = "duckdb"
"""The dialect of `sql/` and of `sql()` unless told otherwise."""


def parse_select(sql: str, *, dialect: str = OWN_DIALECT) -> exp.Query:
    """Parse one `SELECT`.

    Args:
        sql: The question.
        dialect: Any dialect that sqlglot reads.

    Returns:
        Its tree.

    Raises:
        SqlError: It doesn't parse, is more than one statement, or isn't a `SELECT`.
    """
    try:
        trees = [t for t in sqlglot.parse(sql, dialect=dialect) if t is not None]
    except (SqlglotError, ValueError) as error:
        raise SqlError(f"The SQL doesn't parse as {dialect}: {first_line(error)}") from error
    if len(trees) != 1:
        raise SqlError(f"One SQL statement is needed; {len(trees)} were given.")
    tree = trees[0]
    if not isinstance(tree, exp.Query):
        raise SqlError(
            f"Only SELECT can be asked, and this is {tree.key.upper()}: the tables are append-only and are written "
            "through the logging, registry and scoring functions."
        )
    return tree


def check_parameters(tree: exp.Expr, parameters: Mapping[str, object] | None) -> None:
    """See that each ``$name`` of a question has a value and each value a mark, with the same words on every engine.

    Raises:
        SqlError: A mark without a value, a value without a mark, or a mark without a name.
    """
    check_marks(marks_of(tree), parameters)


def marks_of(tree: exp.Expr) -> frozenset[str]:
    """The names of a question's parameter marks."""
    return frozenset(p.name for p in tree.find_all(exp.Placeholder, exp.Parameter))


def check_marks(marks: frozenset[str], parameters: Mapping[str, object] | None) -> None:
    """See `check_parameters`; for a question whose marks are known already.

    Raises:
        SqlError: A mark without a value, a value without a mark, or a mark without a name.
    """
    given = set(parameters or ())
    if any(not mark.isidentifier() for mark in marks):
        raise SqlError("Parameters are marked by name, as `$name`; this question has one without a name.")
    if missing := sorted(marks - given):
        raise SqlError(f"The question has the parameter `${missing[0]}`, and no value was given for it.")
    if unused := sorted(given - marks):
        raise SqlError(
            f"A value was given for the parameter `${unused[0]}`, which the question hasn't."
            f"{did_you_mean(unused[0], marks)}"
        )


def free_tables(tree: exp.Expr) -> set[str]:
    """Names of tables a query reads, in lower case, without those its own common table expressions define.

    A name is free where a reference to it is not in the scope of a common table expression of that name. Capitals
    make no difference, as in the engines.
    """
    names: set[str] = set()
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and not table.args.get("db") and not is_bound(table):
            names.add(table.name.lower())
    return names


def is_bound(table: exp.Table) -> bool:
    """Whether an enclosing WITH defines the table's name at this place."""
    name = table.name.lower()
    node: exp.Expr = table
    while node.parent is not None:
        parent = node.parent
        if isinstance(parent, exp.With):
            # Inside a WITH, only the expressions before this one are visible (and itself, when recursive).
            expressions = parent.expressions
            here = next(i for i, e in enumerate(expressions) if e is node)
            visible = expressions[: here + 1] if parent.args.get("recursive") else expressions[:here]
            if any(e.alias.lower() == name for e in visible):
                return True
            # The query that owns this WITH sees all of it, and would wrongly hide a later name: step over it.
            owner = parent.parent
            if owner is None:
                return False
            node = owner
            continue
        with_ = parent.args.get("with_")
        if isinstance(with_, exp.With) and any(e.alias.lower() == name for e in with_.expressions):
            return True
        node = parent
    return False


@cache
def view_tree(name: str) -> exp.Query:
    """The tree of a view or report; it must not be changed."""
    return parse_select(view(name).sql)


def first_line(error: Exception) -> str:
    """What sqlglot says, without the text it points into."""
    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        return f"{first.get('description')} at line {first.get('line')}, column {first.get('col')}."
    return str(error).strip().splitlines()[0]
