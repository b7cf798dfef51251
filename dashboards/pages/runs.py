"""*Runs*: any number of runs in a grid, filtered, ordered and compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from mlwarehouse.errors import FilterError, InvalidInputError, WarehouseError

from .. import data, figures, grid, runs_data, ui
from ..columns import GridColumn, parse_column
from ..ids import Runs as Id
from ..ids import Shell
from ..site import Page, Site
from ..state import RUNS_PATH, RunsState

MAX_COMPARED = 10
"""The most runs that are drawn over each other."""

MAX_EXPORTED = 100_000
"""The most rows a CSV file gets."""

_CURVES_HEIGHT = 380
_EXAMPLE = "For example: metrics.`val/loss` < 0.4 AND (params.lr < 0.01 OR tags.team = 'nlp')"


def layout(site: Site, search: str) -> Any:
    """The page for a query string."""
    state = RunsState.from_search(search)
    reader = site.reader
    known = data.experiments(reader)
    columns = _columns(site, state)
    controls = dmc.Paper(
        dmc.Stack(
            [
                dmc.TextInput(
                    id=Id.FILTER,
                    label="Filter",
                    description=_EXAMPLE,
                    placeholder="All runs",
                    value=state.filter,
                    debounce=True,
                    spellCheck=False,
                    className="mlw-filter",
                ),
                dmc.Group(
                    [
                        ui.field(
                            "wide",
                            dmc.MultiSelect(
                                id=Id.EXPERIMENTS,
                                label="Experiments",
                                placeholder="" if state.experiments else "All experiments",
                                data=[{"value": e.experiment_id, "label": e.name} for e in known.itertuples()],
                                value=list(state.experiments),
                                searchable=True,
                                clearable=True,
                                limit=100,
                            ),
                        ),
                        ui.field(
                            "widest",
                            dmc.MultiSelect(
                                id=Id.COLUMNS,
                                label="Columns",
                                data=_column_options(site, "", columns),
                                value=[c.token for c in columns],
                                searchable=True,
                                searchValue="",
                                nothingFoundMessage="No metric, param or tag has this in its name",
                            ),
                        ),
                    ],
                    align="flex-start",
                    gap="md",
                ),
            ],
            gap="sm",
        ),
        withBorder=True,
        radius="md",
        p="md",
        className="mlw-panel",
    )
    toolbar = dmc.Group(
        [
            dmc.Text("", id=Id.COUNT, size="sm", fw=600),
            dmc.Button("Export CSV", id=Id.EXPORT, variant="default", size="xs", leftSection=ui.icon("download")),
        ],
        justify="space-between",
    )
    key = dmc.Select(
        id=Id.CURVE_KEY, data=[], searchable=True, allowDeselect=False, limit=100, size="xs", placeholder="Metric",
        attributes={"input": {"aria-label": "Metric to compare"}},
    )  # fmt: skip
    rows = grid.runs_grid(Id.GRID, columns, state.order)
    return ui.page(
        "Runs",
        "Every run: filter, order by any metric or param, and tick runs to compare their curves.",
        dcc.Location(id=Id.LOCATION, refresh=False, search=search),
        dcc.Store(id=Id.QUESTION),
        dcc.Store(id=Id.PURGED),
        dcc.Store(id=Id.COMPARED),
        dcc.Download(id=Id.DOWNLOAD),
        controls,
        html.Div(id=Id.TROUBLE),
        dmc.Box([toolbar, html.Div(rows, id=Id.GRID_BOX)], className="mlw-stack mlw-needs-runs"),
        ui.panel("Compare", Id.CURVES, height=160, hint="One metric of the ticked runs over the step", side=key),
    )


def register(app: Dash, site: Site) -> None:
    """Add the page's callbacks."""
    _register_question(app, site)
    _register_rows(app, site)
    _register_comparison(app, site)


def _register_question(app: Dash, site: Site) -> None:
    """From the controls to the URL and back, and from the URL to the question the grid asks."""

    # One callback for both ways, since Dash allows a circle only within one.
    @app.callback(
        Output(Id.LOCATION, "search"),
        Output(Id.EXPERIMENTS, "value"),
        Output(Id.EXPERIMENTS, "placeholder"),
        Output(Id.FILTER, "value"),
        Output(Id.COLUMNS, "value"),
        Input(Id.LOCATION, "search"),
        Input(Id.EXPERIMENTS, "value"),
        Input(Id.FILTER, "value"),
        Input(Id.COLUMNS, "value"),
        Input(Id.GRID, "getRowsRequest"),
        prevent_initial_call=True,
    )
    def follow(
        search: str,
        experiments: list[str] | None,
        text: str | None,
        columns: list[str] | None,
        request: dict[str, Any] | None,
    ) -> tuple[Any, ...]:
        state = RunsState.from_search(search)
        if ctx.triggered_id == Id.EXPERIMENTS:
            state = replace(state, experiments=tuple(experiments or ()))
        elif ctx.triggered_id == Id.FILTER:
            state = replace(state, filter=(text or "").strip())
        elif ctx.triggered_id == Id.COLUMNS:
            chosen = tuple(columns or ())
            state = replace(state, columns=chosen or None, order=tuple(o for o in state.order if o[0] in chosen))
        elif ctx.triggered_id == Id.GRID:
            order = grid.order_of((request or {}).get("sortModel", ()))
            if order == _orderable(state):
                raise PreventUpdate
            state = replace(state, order=order)
        try:
            tokens: Any = [c.token for c in _columns(site, state)]
        except WarehouseError:
            tokens = no_update
        return (
            no_update if state.to_search() == (search or "") else state.to_search(),
            list(state.experiments),
            "" if state.experiments else "All experiments",
            state.filter,
            tokens,
        )

    @app.callback(
        Output(Id.QUESTION, "data"),
        Output(Id.GRID, "columnDefs"),
        Output(Id.GRID, "style"),
        Output(Id.GRID_BOX, "hidden"),
        Output(Id.FILTER, "error"),
        Output(Id.COUNT, "children"),
        Output(Id.TROUBLE, "children"),
        Input(Id.LOCATION, "search"),
        Input(Shell.VERSIONS, "data"),
        State(Id.QUESTION, "data"),
    )
    def ask(search: str, versions: str | None, asked: dict[str, Any] | None) -> tuple[Any, ...]:
        state = RunsState.from_search(search)
        nothing_yet = asked is None
        try:
            unknown = [t for t in (*(state.columns or ()), *(t for t, _ in state.order)) if parse_column(t) is None]
            if unknown:
                raise InvalidInputError(
                    f"The link names the columns {', '.join(unknown)}, which runs don't have; choose from the list."
                )
            columns = _columns(site, state)
            order = _orderable(state)
            found = site.reader.run_ids(state.experiments, state.filter, grid.order_by(order))
        except WarehouseError as error:
            # The rows of the last question that could be answered stay; the grid is never emptied by a typing error.
            trouble = ui.failure("Mend the filter above to see runs.", title="No runs shown") if nothing_yet else []
            is_filter = isinstance(error, FilterError)
            shown = trouble if is_filter else ui.failure(str(error))
            message = str(error) if is_filter else None
            return no_update, no_update, no_update, nothing_yet, message, no_update, shown
        question = {
            "experiments": list(state.experiments),
            "filter": state.filter,
            "columns": [c.token for c in columns],
            "versions": versions,
        }
        if not found and not state.filter and not state.experiments:
            return question, no_update, no_update, True, None, "No runs", ui.fresh_warehouse()
        note: Any = [] if found else ui.empty("No run matches", "Loosen the filter or choose other experiments.")
        count = f"{len(found):,} {'run' if len(found) == 1 else 'runs'}"
        style = {"height": grid.height(len(found)), "width": "100%"}
        definitions = grid.column_definitions(columns, order)
        return question if question != asked else no_update, definitions, style, not found, None, count, note

    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("mlwarehouse", "askAgain"),
        Output(Id.PURGED, "data"),
        Input(Id.QUESTION, "data"),
        State(Id.PURGED, "data"),
        State(Id.GRID, "id"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output(Id.COLUMNS, "data"),
        Input(Id.COLUMNS, "searchValue"),
        Input(Id.COLUMNS, "value"),
        prevent_initial_call=True,
    )
    def offer(typed: str | None, chosen: list[str] | None) -> Any:
        kept = tuple(c for c in map(parse_column, chosen or ()) if c is not None)
        try:
            return _column_options(site, typed or "", kept)
        except WarehouseError:
            return no_update


def _register_rows(app: Dash, site: Site) -> None:
    """From the question to rows: in the grid, block by block, and in a file, all at once."""

    @app.callback(
        Output(Id.GRID, "getRowsResponse"),
        Output(Id.TROUBLE, "children", allow_duplicate=True),
        Input(Id.GRID, "getRowsRequest"),
        State(Id.QUESTION, "data"),
        State(Id.LOCATION, "search"),
        prevent_initial_call=True,
    )
    def rows(request: dict[str, Any] | None, question: dict[str, Any] | None, search: str) -> Any:
        if request is None:
            raise PreventUpdate
        try:
            columns, ids = _found(site, question, search, grid.order_of(request["sortModel"]))
            block = tuple(ids[int(request["startRow"]) : int(request["endRow"])])
            frame = runs_data.rows(site.reader, block, columns)
        except FilterError:
            # What is wrong stands beside the filter already; the grid only has to stop waiting.
            return {"rowData": [], "rowCount": 0}, no_update
        except WarehouseError as error:
            return {"rowData": [], "rowCount": 0}, ui.failure(str(error))
        return {"rowData": grid.cells(frame, columns), "rowCount": len(ids)}, no_update

    @app.callback(
        Output(Id.DOWNLOAD, "data"),
        Output(Id.TROUBLE, "children", allow_duplicate=True),
        Input(Id.EXPORT, "n_clicks"),
        State(Id.QUESTION, "data"),
        State(Id.LOCATION, "search"),
        prevent_initial_call=True,
    )
    def export(n_clicks: int | None, question: dict[str, Any] | None, search: str) -> tuple[Any, Any]:
        if not n_clicks:
            raise PreventUpdate
        try:
            columns, ids = _found(site, question, search, _orderable(RunsState.from_search(search)))
            if len(ids) > MAX_EXPORTED:
                raise InvalidInputError(
                    f"A CSV file takes at most {MAX_EXPORTED:,} runs and {len(ids):,} match; narrow the filter, or ask "
                    "with SQL."
                )
            text = grid.to_csv(runs_data.all_rows(site.reader, ids, columns), columns)
        except WarehouseError as error:
            return no_update, ui.failure(str(error))
        return {"content": text, "filename": "runs.csv", "type": "text/csv"}, no_update


def _register_comparison(app: Dash, site: Site) -> None:
    """From ticked rows to curves."""

    @app.callback(
        Output(Id.COMPARED, "data"),
        Output(Id.CURVE_KEY, "data"),
        Output(Id.CURVE_KEY, "value"),
        Input(Id.GRID, "selectedRows"),
        State(Id.CURVE_KEY, "value"),
        State(Id.COLUMNS, "value"),
        prevent_initial_call=True,
    )
    def choose(selected: list[dict[str, Any]] | None, key: str | None, columns: list[str]) -> tuple[Any, ...]:
        run_ids = [row["run_id"] for row in selected or ()]
        try:
            keys = runs_data.metric_keys(site.reader, tuple(run_ids[:MAX_COMPARED]))
        except WarehouseError:
            keys = []
        if key not in keys:
            shown = [c.name for c in map(parse_column, columns or ()) if c is not None and c.is_metric]
            key = next((k for k in shown if k in keys), keys[0] if keys else None)
        return run_ids, keys, key

    @app.callback(Output(Id.CURVES, "children"), Input(Id.COMPARED, "data"), Input(Id.CURVE_KEY, "value"))
    @ui.shows_failures
    def compare(run_ids: list[str] | None, key: str | None) -> Any:
        if not run_ids:
            return ui.empty("Nothing ticked", "Tick runs in the grid to see their curves over each other.", height=160)
        if not key:
            return ui.empty("No metrics", "The ticked runs have no metric points.", height=160)
        frame = runs_data.curves(site.reader, tuple(run_ids[:MAX_COMPARED]), key)
        drawn = ui.graph(figures.curve_overlay(frame, key=key), height=_CURVES_HEIGHT)
        if len(run_ids) <= MAX_COMPARED:
            return drawn
        note = f"The first {MAX_COMPARED} of {len(run_ids)} ticked runs are drawn."
        return [dmc.Text(note, size="xs", c="dimmed"), drawn]


PAGE = Page(name="Runs", path=RUNS_PATH, icon="runs", layout=layout, register=register)


def _columns(site: Site, state: RunsState) -> tuple[GridColumn, ...]:
    if state.columns is not None:
        return grid.shown_columns(state, ())
    return grid.shown_columns(state, runs_data.default_columns(site.reader, state.experiments))


def _orderable(state: RunsState) -> tuple[tuple[str, str], ...]:
    """The part of the order that columns of the grid can show."""
    parsed = ((parse_column(token), token, direction) for token, direction in state.order)
    return tuple((t, d) for column, t, d in parsed if column is not None and column.order_by(d) is not None)


def _column_options(site: Site, typed: str, chosen: tuple[GridColumn, ...]) -> list[dict[str, str]]:
    offered = dict.fromkeys([*chosen, *runs_data.offered_columns(site.reader, typed)])
    return [{"value": c.token, "label": c.label if c.kind == "attributes" else c.token} for c in offered]


def _found(
    site: Site, question: dict[str, Any] | None, search: str, order: tuple[tuple[str, str], ...]
) -> tuple[tuple[GridColumn, ...], list[str]]:
    """The columns and all run ids of the question the grid shows; before the first one, of the URL."""
    if question is None:
        state = RunsState.from_search(search)
        columns = _columns(site, state)
    else:
        state = RunsState(tuple(question["experiments"]), question["filter"])
        columns = tuple(c for c in map(parse_column, question["columns"]) if c is not None)
    return columns, site.reader.run_ids(state.experiments, state.filter, grid.order_by(order))
