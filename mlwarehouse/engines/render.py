"""Questions made ready for an engine: one place that puts the views in and renders, always strictly.

Questions and views are written in DuckDB's dialect. A question's tree gets the views it needs as common table
expressions in front, in dependency order, so nothing has to be created in an engine before a question can be asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import ClassVar, TypeAlias, TypeVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.errors import UnsupportedError
from sqlglot.generators.spark import SparkGenerator

from mlwarehouse.engines.parse import first_line, free_tables, is_bound, marks_of, parse_select, view_tree
from mlwarehouse.engines.render_states import numbered_over_view, over_numbered, over_state
from mlwarehouse.errors import SqlError, did_you_mean
from mlwarehouse.tables import TABLES_BY_NAME
from mlwarehouse.tables.states import NUMBERED, STATES_BY_VIEW
from mlwarehouse.tables.views import REPORTS, VIEWS

Unsettled: TypeAlias = frozenset[str] | None
"""The views whose kept folds have events behind them; None where folds aren't kept."""
_Pattern = TypeVar("_Pattern", exp.Like, exp.ILike)


def _with_backslashes_doubled(node: _Pattern) -> _Pattern:
    """In a pattern of Spark's a backslash takes the next character's meaning, where nothing else is said."""
    if isinstance(node.parent, exp.Escape) or isinstance(node.expression, exp.All | exp.Any | exp.Tuple):
        return node
    backslash = exp.Anonymous(this="CHR", expressions=[exp.Literal.number(92)])
    doubled = exp.Anonymous(this="CONCAT", expressions=[backslash, backslash.copy()])
    result = node.copy()
    pattern = exp.Anonymous(this="REPLACE", expressions=[node.expression.copy(), backslash.copy(), doubled])
    result.set("expression", pattern)
    return result


class NestingSpark(Spark):
    """Spark's dialect, which can nest common table expressions.

    Its ancestor Hive can't, and sqlglot would lift them all to the top, where those of two views bear the same names.
    """

    class Generator(SparkGenerator):
        """Spark's generator, without the lifting, and with patterns in which a backslash is a backslash."""

        EXPRESSIONS_WITHOUT_NESTED_CTES: ClassVar[set[type[exp.Expr]]] = set()

        def like_sql(self, expression: exp.Like) -> str:
            """A pattern without an escape character, as in DuckDB."""
            return super().like_sql(_with_backslashes_doubled(expression))

        def ilike_sql(self, expression: exp.ILike) -> str:
            """The same, whatever the case."""
            return super().ilike_sql(_with_backslashes_doubled(expression))


def needed(tree: exp.Expr, *, kept: Unsettled = None) -> tuple[tuple[str, ...], frozenset[str]]:
    """What a query needs.

    Args:
        tree: The query.
        kept: Whether, and how, the views that have kept folds read these.

    Returns:
        The names of the views, each after those it depends on, and the names of the tables; with kept folds, those of
        `mlwarehouse.engines.render_states` are among them.

    Raises:
        SqlError: A name that is neither.
    """
    known = {*TABLES_BY_NAME, *VIEWS, *REPORTS}
    for name in sorted(free_tables(tree) - known - NUMBERED.keys()):
        raise SqlError(
            f"There is no table or view `{name}`.{did_you_mean(name, known)} The names are {', '.join(sorted(known))}."
        )
    views: dict[str, None] = {}
    tables: set[str] = set()

    def visit(names: set[str]) -> None:
        for name in sorted(names):
            body = _body(name, kept)
            if body is None:
                tables.add(name)
            elif name not in views:
                visit(free_tables(body))
                views[name] = None

    visit(free_tables(tree))
    return tuple(views), frozenset(tables)


@cache
def _body(name: str, kept: Unsettled) -> exp.Query | None:
    """The tree of a view, a report or a numbered view; None for a table's name."""
    if name in NUMBERED:
        view = NUMBERED[name]
        return numbered_over_view(view) if kept is None else over_state(view, is_settled=view not in kept)
    if name not in VIEWS and name not in REPORTS:
        return None
    return over_numbered(name) if kept is not None and name in STATES_BY_VIEW else view_tree(name)


def with_views(
    tree: exp.Query, *, leaves: Mapping[str, str], dialect: str, kept: Unsettled = None, now: str | None = None
) -> exp.Query:
    """Put the views a query needs in front of it, and name each table as the engine knows it.

    Args:
        tree: The query; it isn't changed.
        leaves: The engine's name of each table, by our name.
        dialect: The engine's dialect.
        kept: See `needed`.
        now: What the views take for the present moment, in DuckDB's SQL; None means the engine's clock. A question's
            own words for it stay.

    Returns:
        A query that reads only `leaves`.
    """
    views, _ = needed(tree, kept=kept)
    # Under a name of their own, so that a question may define a name that a view has.
    names = {**leaves, **{name: f"mlw_view_{name}" for name in views}}
    result = _renamed(tree.copy(), names)
    ctes = []
    for name in views:
        body = _body(name, kept)
        assert body is not None
        body = _renamed(body.copy(), names)
        if now is not None:
            for clock in list(body.find_all(exp.CurrentTimestamp)):
                clock.replace(sqlglot.parse_one(now, dialect="duckdb"))
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
    free = [t for t in tree.find_all(exp.Table) if not t.args.get("db") and not is_bound(t)]
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
    except (UnsupportedError, ValueError) as error:  # a ValueError for an expression that the dialect has no word for
        raise SqlError(f"This question can't be put in {dialect}'s SQL: {first_line(error)}") from error


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
def compiled(sql: str, *, dialect: str, prefix: str, kept: Unsettled = None, now: str | None = None) -> Compiled:
    """Parse a question, put the views in and render it; the same text is worked on once.

    Args:
        sql: One `SELECT` in our own dialect.
        dialect: The engine's dialect.
        prefix: What the engine's names of tables have before ours.
        kept: See `needed`.
        now: See `with_views`.

    Raises:
        SqlError: It doesn't parse, isn't a `SELECT`, names something that isn't there, or can't be said.
    """
    tree = parse_select(sql)
    _, tables = needed(tree, kept=kept)
    leaves = {table: f"{prefix}{table}" for table in tables}
    whole = with_views(tree, leaves=leaves, dialect=dialect, kept=kept, now=now)
    return Compiled(render(whole, dialect=dialect), tables, marks_of(tree))
