"""The tools and resources that the server offers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError
from mcp_types import ToolAnnotations

from mlwarehouse._version import __version__
from mlwarehouse.errors import InvalidInputError, WarehouseError, did_you_mean
from mlwarehouse.parts.locked_sql import GrantedTable, LockedSql
from mlwarehouse.warehouse import Warehouse

INSTRUCTIONS = """An experiment warehouse: runs, params, every metric point, models and predictions as tables.
Call list_tables, then describe_table for what you need, then sql with one SELECT in DuckDB's dialect. Views (runs,
params, metric_summaries, tags, ...) say what is so now; tables hold every event. Nothing can be changed here."""

FEW_ROWS = 100
"""Rows of an answer unless more are asked for: who reads them pays by the word."""

READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

P = ParamSpec("P")
R = TypeVar("R")


def create_server(warehouse: Warehouse, locked: LockedSql) -> MCPServer[Any]:
    """The server.

    Args:
        warehouse: Finds runs by the filter language.
        locked: What may be asked, and answers SQL.

    Returns:
        A server that is ready to ``run("stdio")``.
    """
    server: MCPServer[Any] = MCPServer(
        "mlwarehouse", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING"
    )
    granted = {table.name: table for table in locked.schema()}

    @server.tool(annotations=READ_ONLY)
    def list_tables() -> list[dict[str, str]]:
        """List the tables and views that can be asked, each with what it answers and what one row stands for."""
        return [{"name": t.name, "kind": t.kind, "purpose": t.purpose, "grain": t.grain} for t in granted.values()]

    @server.tool(annotations=READ_ONLY)
    @_failing_in_words
    def describe_table(name: str) -> dict[str, Any]:
        """Describe one table or view: its purpose, what one row stands for, and what each column holds."""
        if name not in granted:
            raise InvalidInputError(f"There is no table or view `{name}` here.{did_you_mean(name, granted)}")
        return _described(granted[name])

    @server.tool(annotations=READ_ONLY)
    @_failing_in_words
    def sql(query: str, parameters: dict[str, Any] | None = None, row_limit: int = FEW_ROWS) -> dict[str, Any]:
        """Answer one read-only SELECT in DuckDB's dialect over the tables and views of list_tables.

        Values can be passed as parameters, marked $name in the query. The answer has columns, rows and is_truncated:
        whether there are more rows than row_limit.
        """
        answer = locked.answer(query, parameters=parameters)
        return _answer(answer.rows, row_limit, is_truncated=answer.is_truncated)

    @server.tool(annotations=READ_ONLY)
    @_failing_in_words
    def search_runs(
        filter_string: str = "",
        order_by: list[str] | None = None,
        columns: list[str] | None = None,
        max_results: int = FEW_ROWS,
    ) -> dict[str, Any]:
        """Find runs by a filter such as: metrics.`val/loss` < 0.4 AND params.lr < 0.01 AND tags.team = 'nlp'.

        Orders are such as: metrics.`val/loss` ASC. Columns are such as run_id, metrics.val/loss, params.lr.
        """
        ids = locked.experiment_ids
        rows = warehouse.search_runs(
            experiment_ids=None if ids is None else list(ids),
            filter_string=filter_string,
            order_by=order_by,
            max_results=max_results + 1,
            columns=columns,
            output_format="arrow",
            search_all_experiments=ids is None,
        )
        return _answer(rows, max_results, is_truncated=False)

    @server.resource("mlwarehouse://schema", mime_type="application/json")
    def schema() -> str:
        """Every table and view that can be asked, with all columns."""
        return json.dumps([_described(t) for t in granted.values()])

    @server.resource("mlwarehouse://tables/{name}", mime_type="application/json")
    def table(name: str) -> str:
        """One table or view, with its columns."""
        if name not in granted:
            raise ResourceNotFoundError(f"There is no table or view `{name}` here.{did_you_mean(name, granted)}")
        return json.dumps(_described(granted[name]))

    return server


def _failing_in_words(function: Callable[P, R]) -> Callable[P, R]:
    """Have our errors reach the asker with what they say; others are not for strangers."""

    @wraps(function)
    def called(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return function(*arguments, **options)
        except WarehouseError as error:
            raise ToolError(str(error)) from error

    return called


def _described(table: GrantedTable) -> dict[str, Any]:
    return {
        "name": table.name,
        "kind": table.kind,
        "purpose": table.purpose,
        "grain": table.grain,
        "columns": dict(table.columns),
    }


def _answer(rows: Any, row_limit: int, *, is_truncated: bool) -> dict[str, Any]:
    """An Arrow table as columns and rows of plain JSON."""
    if row_limit < 1:
        raise InvalidInputError(f"The limit of rows is {row_limit}; it must be 1 at least.")
    shown = rows.slice(0, row_limit).to_pylist()
    return {
        "columns": rows.column_names,
        "rows": [[_plain(row[c]) for c in rows.column_names] for row in shown],
        "is_truncated": is_truncated or rows.num_rows > row_limit,
    }


def _plain(value: Any) -> Any:
    """A value as JSON has it: times in ISO form, and as text what JSON has no number for."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
