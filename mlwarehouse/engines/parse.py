"""SQL as a tree: one place that parses, and that knows which names a query leaves to others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect, Dialects
from sqlglot.errors import ParseError, SqlglotError, TokenError
from sqlglot.tokenizer_core import Token

from mlwarehouse.errors import SqlError, did_you_mean
from mlwarehouse.tables.views import view

OWN_DIALECT = "duckdb"
"""The dialect of `sql/` and of `sql()` unless told otherwise."""


DIALECTS: tuple[str, ...] = tuple(sorted(dialect.value for dialect in Dialects if dialect.value))
"""The dialects that a question may be written in."""

_ALIASES = {"postgresql": "postgres", "mssql": "tsql", "sqlserver": "tsql", "sparksql": "spark", "mariadb": "mysql"}


def known_dialect(name: str) -> str:
    """The dialect of a name, whatever its capitals.

    Raises:
        SqlError: There is none.
    """
    given = name.strip().lower()
    given = _ALIASES.get(given, given)
    if given not in DIALECTS:
        raise SqlError(
            f"There is no SQL dialect `{name}`.{did_you_mean(given, DIALECTS)} The dialects are {', '.join(DIALECTS)}."
        )
    return given


def parse_select(
    sql: str, *, dialect: str = OWN_DIALECT, rewrite: Callable[[list[Token]], list[Token]] | None = None
) -> exp.Query:
    """Parse one `SELECT`.

    Args:
        sql: The question.
        dialect: An entry of `DIALECTS`.
        rewrite: Changes the tokens before they are parsed.

    Returns:
        Its tree.

    Raises:
        SqlError: It doesn't parse, is more than one statement, or isn't a `SELECT`.
    """
    try:
        reader = Dialect.get_or_raise(dialect)
        tokens = reader.tokenize(sql)
        trees = [t for t in reader.parser().parse(rewrite(tokens) if rewrite else tokens, sql) if t is not None]
    except (SqlglotError, ValueError) as error:
        raise SqlError(f"The SQL doesn't parse as {dialect}: {first_line(error, sql)}") from error
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
        raise SqlError(
            "This question has a parameter's mark without a name; mark it by name, as `$name`, or give the values as a "
            "list."
        )
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


def first_line(error: Exception, text: str = "") -> str:
    """What sqlglot says of a text on one line, with the place in it."""
    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        near = str(first.get("highlight") or "")
        column = int(first.get("col") or 1) - max(len(near) - 1, 0)  # sqlglot counts to the word's end
        where = f"line {first.get('line')}, column {column}"
        description = str(first.get("description")).rstrip(".")
        if description.startswith("Required keyword"):
            return f"something is missing after `{near}` at {where}." if near else f"something is missing at {where}."
        return f"{description} near `{near}` at {where}." if near else f"{description} at {where}."
    if isinstance(error, TokenError):
        found = re.search(r"Missing (\S+) from (\d+):(\d+)", f"{error} {error.__cause__}")
        if found:
            offset = int(found[3])  # sqlglot's "column" counts from the beginning of the text
            column = offset - text.rfind("\n", 0, offset)
            return f"the {found[1]} that opens at line {found[2]}, column {column} isn't closed."
        return "a quote or a comment isn't closed."
    return str(error).strip().splitlines()[0]
