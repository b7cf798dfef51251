"""The grid of runs: its columns, its cells as text, its order.

Cells are plain text formatted here: the grid has no renderer that could read markup, and its sorting happens in the
query, so it never needs the raw values.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dash_ag_grid as dag

from .columns import GridColumn, parse_column
from .figures import OUTCOMES, number
from .state import RunsState

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 100
"""Rows a request of the grid asks for."""

_THEME = (
    "themeQuartz.withParams({accentColor: 'var(--mantine-primary-color-filled)', "
    "backgroundColor: 'var(--mantine-color-body)', foregroundColor: 'var(--mantine-color-text)', "
    "borderColor: 'var(--mantine-color-default-border)', headerBackgroundColor: 'var(--mlw-subtle)', "
    "rowHoverColor: 'var(--mlw-subtle)', fontFamily: 'inherit', headerFontWeight: 600, fontSize: 13, "
    "rowHeight: 38, headerHeight: 40, wrapperBorderRadius: 8, browserColorScheme: 'inherit'})"
)
_WIDTHS = {"run_name": 170, "experiment_name": 130, "started_at": 150, "user_id": 90, "run_id": 270}
_STATUS_CLASSES = {f"mlw-status-{o}": f"params.value == '{label}'" for o, (label, _) in OUTCOMES.items()}


def runs_grid(grid_id: str, columns: Sequence[GridColumn], order: Sequence[tuple[str, str]]) -> Any:
    """An empty grid that asks for its rows block by block."""
    return dag.AgGrid(
        id=grid_id,
        rowModelType="infinite",
        columnDefs=column_definitions(columns, order),
        defaultColDef={
            "resizable": True,
            "sortable": False,
            "filter": False,
            "suppressHeaderMenuButton": True,
            "sortingOrder": ["desc", "asc", None],
        },
        dashGridOptions={
            "theme": {"function": _THEME},
            "suppressFieldDotNotation": True,
            "rowSelection": {"mode": "multiRow", "headerCheckbox": False, "enableClickSelection": False},
            "selectionColumnDef": {"width": 44, "pinned": "left", "suppressHeaderMenuButton": True},
            "cacheBlockSize": BLOCK,
            "maxBlocksInCache": 20,
            # The component remembers one request at a time.
            "maxConcurrentDatasourceRequests": 1,
            "infiniteInitialRowCount": 1,
            "animateRows": False,
            "multiSortKey": "ctrl",
            "tooltipShowDelay": 600,
            "enableCellTextSelection": True,
        },
        getRowId="params.data.run_id",
        dangerously_allow_code=False,
        style={"height": height(BLOCK), "width": "100%"},
        className="mlw-grid",
    )


def height(n_rows: int) -> str:
    """The grid's height: no taller than its rows, no taller than a screen."""
    return f"{56 + 38 * max(3, min(n_rows, 14))}px"


def column_definitions(columns: Sequence[GridColumn], order: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The grid's column definitions, with the order shown in the headers."""
    ranks = {token: (direction, i) for i, (token, direction) in enumerate(order)}
    definitions = []
    for column in columns:
        direction, index = ranks.get(column.token, (None, None))
        definition: dict[str, Any] = {
            "colId": column.token,
            "field": column.token,
            "headerName": column.label,
            "headerTooltip": column.token,
            "sortable": column.order_by("asc") is not None,
            "sort": direction,
            "sortIndex": index,
            "width": _WIDTHS.get(column.name, 112) if column.kind == "attributes" else 118,
        }
        if column.is_metric or column.token == "attributes.duration_s":
            definition["type"] = "rightAligned"
        elif column.token == "attributes.outcome":
            definition["cellClassRules"] = _STATUS_CLASSES
        else:
            definition["tooltipField"] = column.token
        definitions.append(definition)
    return definitions


def order_of(sort_model: Sequence[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    """The order that the grid's headers show."""
    return tuple((str(s["colId"]), str(s["sort"])) for s in sort_model)


def order_by(order: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The order in the words of `search_runs`; columns it has no word for are left out."""
    columns = ((parse_column(token), direction) for token, direction in order)
    entries = (column.order_by(direction) for column, direction in columns if column is not None)
    return tuple(e for e in entries if e is not None)


def shown_columns(state: RunsState, default: Sequence[str]) -> tuple[GridColumn, ...]:
    """The columns a grid shows: those chosen, and those it is ordered by."""
    tokens = dict.fromkeys([*(state.columns or default), *(token for token, _ in state.order)])
    found = (parse_column(token) for token in tokens)
    return tuple(c for c in found if c is not None)


def cells(rows: pd.DataFrame, columns: Sequence[GridColumn]) -> list[dict[str, str]]:
    """The rows as text by column token, with ``run_id`` beside."""
    texts = {c.token: [_cell(c, v) for v in rows[c.token]] for c in columns}
    return [
        {"run_id": str(run_id), **{token: values[i] for token, values in texts.items()}}
        for i, run_id in enumerate(rows["run_id"])
    ]


def to_csv(rows: pd.DataFrame, columns: Sequence[GridColumn]) -> str:
    """The rows as CSV with exact values; a text that a spreadsheet would run as a formula gets an apostrophe first."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["run_id", *[_inert(c.token) for c in columns if c.token != "attributes.run_id"]])
    kept = [rows[c.token] for c in columns if c.token != "attributes.run_id"]
    for values in zip(rows["run_id"], *kept, strict=True):
        writer.writerow([_inert(v) for v in values])
    return out.getvalue()


def duration(seconds: float | None) -> str:
    """Seconds in words of a fitting size."""
    if seconds is None or math.isnan(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds / 60:.1f} min"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _cell(column: GridColumn, value: Any) -> str:
    missing = value is None or value != value
    if column.is_metric:
        # A run that logged NaN and a run that lacks the metric differ, and a null float can't tell: both are blank.
        return "" if missing else number(float(value))
    if column.token == "attributes.duration_s":
        return duration(None if missing else float(value))
    if missing:
        return ""
    if column.token == "attributes.outcome":
        return OUTCOMES.get(str(value), (str(value), ""))[0]
    if column.token == "attributes.started_at":
        return f"{value:%Y-%m-%d %H:%M}"
    return str(value)


def _inert(value: Any) -> Any:
    if value is None or value != value:
        return ""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        try:
            float(value)
        except ValueError:
            return "'" + value
    return value
