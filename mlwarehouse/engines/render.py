"""SQL as a tree: one place that parses, puts the views in, and renders for an engine, always strictly.

Questions and views are written in DuckDB's dialect. A question's tree gets the views it needs as common table
expressions in front, in dependency order, so nothing has to be created in an engine before a question can be asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.errors import ParseError, SqlglotError, UnsupportedError
from sqlglot.generators.spark import SparkGenerator

from mlwarehouse.errors import SqlError, did_you_mean
from mlwarehouse.tables import TABLES_BY_NAME
from mlwarehouse.tables.views import REPORTS, VIEWS, view

OWN_DIALECT = "duckdb"
"""The dialect of `sql/` and of `sql()` unless told otherwise."""


class NestingSpark(Spark):
    """Spark's dialect, which can nest common table expressions.

    Its ancestor Hive can't, and sqlglot would lift them all to the top, where those of two views bear the same names.
    """

    class Generator(SparkGenerator):
        """Spark's generator, without the lifting."""

        EXPRESSIONS_WITHOUT_NESTED_CTES: ClassVar[set[type[exp.Expr]]] = set()


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
        raise SqlError(f"The SQL doesn't parse as {dialect}: {_first_line(error)}") from error
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
        if isinstance(table.this, exp.Identifier) and not table.args.get("db") and not _is_bound(table):
            names.add(table.name.lower())
    return names


def _is_bound(table: exp.Table) -> bool:
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
def _view_tree(name: str) -> exp.Query:
    return parse_select(view(name).sql)


@cache
def _view_needs(name: str) -> frozenset[str]:
    """All tables and views that a view reads, directly or through others."""
    direct = free_tables(_view_tree(name))
    deeper = (_view_needs(n) for n in direct if n in VIEWS or n in REPORTS)
    return frozenset(direct.union(*deeper))


def needed(tree: exp.Expr) -> tuple[tuple[str, ...], frozenset[str]]:
    """What a query needs.

    Returns:
        The names of the views, each after those it depends on, and the names of the tables.

    Raises:
        SqlError: A name that is neither.
    """
    free = free_tables(tree)
    known = {*TABLES_BY_NAME, *VIEWS, *REPORTS}
    for name in sorted(free - known):
        raise SqlError(
            f"There is no table or view `{name}`.{did_you_mean(name, known)} The names are {', '.join(sorted(known))}."
        )
    everything = free.union(*(_view_needs(n) for n in free if n in VIEWS or n in REPORTS))
    views = tuple(n for n in (*VIEWS, *REPORTS) if n in everything)
    return views, frozenset(everything & TABLES_BY_NAME.keys())


def with_views(tree: exp.Query, *, leaves: Mapping[str, str], dialect: str) -> exp.Query:
    """Put the views a query needs in front of it, and name each table as the engine knows it.

    Args:
        tree: The query; it isn't changed.
        leaves: The engine's name of each table, by our name.
        dialect: The engine's dialect.

    Returns:
        A query that reads only `leaves`.
    """
    views, _ = needed(tree)
    # Under a name of their own, so that a question may define a name that a view has.
    names = {**leaves, **{name: f"mlw_view_{name}" for name in views}}
    result = _renamed(tree.copy(), names)
    ctes = []
    for name in views:
        body = _renamed(_view_tree(name).copy(), names)
        cte = exp.CTE(this=body, alias=exp.TableAlias(this=exp.to_identifier(names[name])))
        if dialect == "duckdb":
            # Materialising by default would stop filters from reaching the files.
            cte.set("materialized", False)
        ctes.append(cte)
    if ctes:
        own = result.args.get("with_")
        if own is None:
            result.set("with_", exp.With(expressions=ctes))
        else:
            own.set("expressions", [*ctes, *own.expressions])
    return result


def _renamed(tree: exp.Query, names: Mapping[str, str]) -> exp.Query:
    free = [t for t in tree.find_all(exp.Table) if not t.args.get("db") and not _is_bound(t)]
    for table in free:
        name = table.name.lower()
        if name in names:
            alias = table.alias or table.name
            table.set("this", exp.to_identifier(names[name]))
            table.set("alias", exp.TableAlias(this=exp.to_identifier(alias)))
    return tree


def render(tree: exp.Expr, *, dialect: str, pretty: bool = False) -> str:
    """Render a tree for an engine, refusing what its dialect can't say.

    Raises:
        SqlError: The dialect has no way to say it.
    """
    try:
        spelled = NestingSpark if dialect == "spark" else dialect
        return tree.sql(dialect=spelled, unsupported_level=sqlglot.ErrorLevel.RAISE, pretty=pretty)
    except UnsupportedError as error:
        raise SqlError(f"This question can't be put in {dialect}'s SQL: {_first_line(error)}") from error


@dataclass(frozen=True)
class Compiled:
    """A question, ready for an engine whose tables have fixed names.

    Attributes:
        text: The SQL in the engine's dialect.
        tables: The tables it reads, by our names.
        marks: The names of its parameters.
    """

    text: str
    tables: frozenset[str]
    marks: frozenset[str]


@lru_cache(maxsize=512)
def compiled(sql: str, *, dialect: str, prefix: str) -> Compiled:
    """Parse a question, put the views in and render it; the same text is worked on once.

    Args:
        sql: One `SELECT` in our own dialect.
        dialect: The engine's dialect.
        prefix: What the engine's names of tables have before ours.

    Raises:
        SqlError: It doesn't parse, isn't a `SELECT`, names something that isn't there, or can't be said.
    """
    tree = parse_select(sql)
    _, tables = needed(tree)
    whole = with_views(tree, leaves={table: f"{prefix}{table}" for table in tables}, dialect=dialect)
    return Compiled(render(whole, dialect=dialect), tables, marks_of(tree))


def _first_line(error: Exception) -> str:
    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        return f"{first.get('description')} at line {first.get('line')}, column {first.get('col')}."
    return str(error).strip().splitlines()[0]
