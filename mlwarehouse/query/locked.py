"""Reading a stranger's SQL: one `SELECT`, of allowed parts, over granted names; what is asked is written anew.

The engine never sees the stranger's text. It sees what `locked_question` writes from the parsed tree, with every name
quoted and no comments, so that two parsers can't understand the text in two ways.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from sqlglot import exp

from mlwarehouse.engines.allowed_sql import FUNCTIONS, OWN_PREFIX, TOO_DEEP
from mlwarehouse.engines.base import WatchedEngine
from mlwarehouse.engines.parse import check_parameters, is_bound, known_dialect, parse_select
from mlwarehouse.errors import SqlError, did_you_mean, within_depth
from mlwarehouse.query.allowed_nodes import NODES
from mlwarehouse.query.sql import in_own_words

LONGEST_QUERY = 20_000
"""Characters; a program that writes longer ones passes lists as parameters."""

DEEPEST = 40
"""Brackets, NOTs and signs within each other. The time that parsing takes grows with them faster than with length."""

TABLE_PARTS = frozenset({"this", "alias", "joins", "laterals"})
_NESTING = re.compile(r"[(\[{)\]}]")
_CHAIN = re.compile(rf"(?:(?:\bNOT\b|[-+~!@])\s*){{{DEEPEST},}}", re.IGNORECASE)


@within_depth(SqlError, TOO_DEEP)
def locked_question(text: str, granted: Set[str], parameters: Mapping[str, object] | None = None) -> str:
    """Check a stranger's question, and write it anew.

    Args:
        text: The question, in DuckDB's dialect; ``$name`` marks a parameter.
        granted: The tables and views that it may name, in lower case.
        parameters: A value for each mark.

    Returns:
        The same question as SQL in DuckDB's dialect.

    Raises:
        SqlError: It is too long or too deep, doesn't parse, isn't one `SELECT`, or has a part, a function or a name
            that isn't allowed. A name that exists and isn't granted is told of with the same words as one that doesn't.
    """
    _check_size(text)
    with _unlogged():
        tree = parse_select(text)
    for node in tree.walk():
        _check_node(node)
    _check_names(tree, granted)
    check_parameters(tree, parameters)
    for node in tree.walk():
        node.comments = None
    return tree.sql(dialect="duckdb", identify=True, comments=False)


@within_depth(SqlError, TOO_DEEP)
def translated(
    engine: WatchedEngine, text: str, dialect: str, parameters: Mapping[str, Any] | Sequence[Any] | None
) -> tuple[str, Mapping[str, Any]]:
    """A stranger's question in DuckDB's dialect, with marks by name, and their values; it isn't checked yet.

    Args:
        engine: Tells the types of the views' columns; the question isn't put to it.
        text: The question.
        dialect: The dialect it is written in.
        parameters: A value for each mark: by name, or in order where marks have no names.

    Raises:
        SqlError: It is too long or too deep, doesn't parse, or can't be translated; or there is no such dialect.
    """
    _check_size(text)
    with _unlogged():
        question, values = in_own_words(engine, text, known_dialect(dialect), parameters)
    return question, values or {}


def _check_size(text: str) -> None:
    if len(text) > LONGEST_QUERY:
        raise SqlError(
            f"The question has {len(text)} characters, and {LONGEST_QUERY} are allowed; pass long lists as parameters."
        )
    if "\0" in text:
        raise SqlError("The question has a character that no SQL has, NUL.")
    depth = deepest = 0
    for bracket in _NESTING.findall(text):
        depth += 1 if bracket in "([{" else -1
        deepest = max(deepest, depth)
    if deepest > DEEPEST or _CHAIN.search(text):
        raise SqlError(f"The question is nested more than {DEEPEST} deep; write it with common table expressions.")


def _check_node(node: exp.Expr) -> None:
    kind = type(node)
    if isinstance(node, exp.Anonymous):
        name = str(node.this)
        if name.lower() not in FUNCTIONS:
            raise SqlError(f"The function `{name}` isn't allowed here.{did_you_mean(name.lower(), FUNCTIONS)}")
        if isinstance(node.parent, exp.Dot):
            raise SqlError(f"The function `{name}` is called by its name alone, as in {name}(x).")
    elif kind not in NODES:
        what = "function" if isinstance(node, exp.Func) else "SQL construct"
        raise SqlError(f"The {what} `{_said(node)}` isn't allowed here; a SELECT may compute, join, group and order.")
    elif kind is exp.Table:
        _check_table(node)
    elif kind is exp.Placeholder and not (node.name.isascii() and node.name.isidentifier()):
        raise SqlError("Parameters are marked by name, as `$name`; this question has one without a name.")
    elif kind is exp.DataType:
        _check_type(node)
    elif kind is exp.TableAlias or kind is exp.CTE:
        _check_own_name(node.alias if kind is exp.CTE else node.name)


def _check_table(table: exp.Expr) -> None:
    if table.args.get("db") or table.args.get("catalog"):
        raise SqlError(f"Tables are named without schema or database: `{table.name}`.")
    if not isinstance(table.this, exp.Identifier | exp.GenerateSeries):
        raise SqlError("After FROM come granted tables and views, subqueries, VALUES, unnest, range, generate_series.")
    more = sorted(part for part, value in table.args.items() if value and part not in TABLE_PARTS)
    if more:
        raise SqlError(f"A table can't be read with `{more[0]}` here.")


def _check_type(node: exp.Expr) -> None:
    # A name in place of a type would be looked up in the catalog.
    if node.this in (exp.DataType.Type.USERDEFINED, exp.DataType.Type.UNKNOWN):
        raise SqlError("Values can be cast to DuckDB's own types only.")


def _check_own_name(name: str) -> None:
    if not name.isascii():
        raise SqlError("Names that a question gives to tables consist of ASCII characters.")
    if name.lower().startswith(OWN_PREFIX):
        raise SqlError(f"Names that begin with `{OWN_PREFIX}` are taken; choose another one.")


def _check_names(tree: exp.Expr, granted: Set[str]) -> None:
    for table in tree.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier) or is_bound(table):
            continue
        name = table.name
        if not name.isascii() or name.lower() not in granted:
            raise SqlError(
                f"There is no table or view `{name}` here.{did_you_mean(name.lower(), granted)} The names are "
                f"{', '.join(sorted(granted)) or 'none'}."
            )


def _said(node: exp.Expr) -> str:
    """A node in a few words: its keyword, without what is in it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__).upper()


_is_reading = contextvars.ContextVar("is_reading", default=False)


class _NotOfStrangers(logging.Filter):
    """Keeps what strangers write out of the program's log, where sqlglot's parser would quote it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is logged."""
        del record
        return not _is_reading.get()


logging.getLogger("sqlglot").addFilter(_NotOfStrangers())


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    before = _is_reading.set(True)
    try:
        yield
    finally:
        _is_reading.reset(before)
