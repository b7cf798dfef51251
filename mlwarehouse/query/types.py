"""The types that the tables' and views' columns have, and with them those of a question's expressions."""

from __future__ import annotations

from typing import cast

import pyarrow as pa
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from mlwarehouse.engines.base import Engine
from mlwarehouse.engines.parse import OWN_DIALECT, free_tables
from mlwarehouse.tables import TABLES_BY_NAME
from mlwarehouse.tables.views import REPORTS, VIEWS

_TYPES = {
    "string": "TEXT",
    "long": "BIGINT",
    "integer": "INT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
}

_MARK = "mlw_node"

_NAMES = {*TABLES_BY_NAME, *VIEWS, *REPORTS}


_ARROW = {
    pa.string(): "TEXT",
    pa.int64(): "BIGINT",
    pa.int32(): "INT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
    pa.date32(): "DATE",
}

_views: dict[str, dict[str, str]] = {}
"""What `column_types` has asked; the types of a view's columns don't depend on its rows."""


def column_types(engine: Engine, name: str) -> dict[str, str]:
    """The types of a table's or a view's columns, in DuckDB's words; ``UNKNOWN`` for structs and lists."""
    if name in TABLES_BY_NAME:
        return {c.name: _TYPES[c.type] for c in TABLES_BY_NAME[name].all_columns}
    if name not in _views:
        schema = engine.query(f"SELECT * FROM {name} LIMIT 0").schema
        _views[name] = {field.name: _ARROW.get(field.type, "UNKNOWN") for field in schema}
    return _views[name]


def with_types(tree: exp.Query, dialect: str, engine: Engine) -> dict[int, exp.Expr]:
    """The expressions of a question with their types.

    Args:
        tree: The question. Each of its nodes gets a number in its ``meta``.
        dialect: The dialect it was written in.
        engine: Knows the views' columns.

    Returns:
        By the number of a node, see `number_of`: a node like it whose ``type`` is known, as are those below it. Empty
        where the question's names can't be followed.
    """
    for number, node in enumerate(tree.walk()):
        node.meta[_MARK] = number
    known = {name: column_types(engine, name) for name in free_tables(tree) & _NAMES}
    try:
        typed = _typed(tree.copy(), known, dialect)
    except (SqlglotError, KeyError, ValueError, TypeError, AttributeError):
        return {}
    return {node.meta[_MARK]: node for node in typed.walk() if _MARK in node.meta}


def number_of(node: exp.Expr) -> int:
    """The number that `with_types` gave a node."""
    return cast(int, node.meta[_MARK])


def _typed(tree: exp.Query, known: dict[str, dict[str, str]], dialect: str) -> exp.Query:
    # The names are ours, in DuckDB's types, whatever the question is written in.
    types: dict[str, object] = {
        table: {column: exp.DataType.build(text, dialect=OWN_DIALECT) for column, text in columns.items()}
        for table, columns in known.items()
    }
    schema = MappingSchema(types, dialect=OWN_DIALECT, normalize=False)
    qualified = qualify(
        tree,
        schema=schema,
        dialect=dialect,
        quote_identifiers=False,
        validate_qualify_columns=False,
        identify=False,
        canonicalize_table_aliases=False,
    )
    return annotate_types(qualified, schema=schema, dialect=dialect)
