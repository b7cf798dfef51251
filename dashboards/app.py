"""Builds the Dash app: pages in a visible tuple, a frame around them, nothing registered at import.

Every choice lives in the URL, every answer in a cache keyed by question and table versions; so any number of visitors
share one process, and several processes need nothing of each other.
"""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path
from typing import Any

import dash
import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update, set_props

from mlwarehouse.errors import WarehouseError

from . import ui
from .ids import Shell
from .pages import progress, runs
from .reader import Reader, Warehouse
from .site import Page, Site

PAGES: tuple[Page, ...] = (progress.PAGE, runs.PAGE)
"""The pages, in the order of the navigation."""

REFRESH_MS = 30_000
"""How often an open page asks whether anything was committed."""

_log = logging.getLogger(__name__)


def create_app(warehouse: Warehouse, *, prefix: str = "/") -> Dash:
    """Build the dashboards over a warehouse.

    Args:
        warehouse: A `mlwarehouse.Warehouse`, or anything with its `sql`, `search_runs`, `metric_history`, `versions`.
        prefix: The path that a server mounts the app at, such as ``/dashboards/``; the server strips it.

    Returns:
        The app; ``app.server`` is its WSGI application. Everything a browser needs comes from the app itself.
    """
    # Dash keeps registered pages in one global per process; these dashboards route by themselves, and what another app
    # has left there must not become routes of this one.
    dash.page_registry.clear()
    prefix = "/" + prefix.strip("/") + "/" if prefix.strip("/") else "/"
    site = Site(Reader(warehouse), prefix)
    app = Dash(
        __name__,
        title="mlwarehouse",
        update_title="",
        assets_folder=str(Path(__file__).parent / "assets"),
        serve_locally=True,
        include_assets_files=True,
        requests_pathname_prefix=prefix,
        routes_pathname_prefix="/",
        use_pages=False,
        suppress_callback_exceptions=True,
        on_error=_show_trouble,
    )
    app.layout = _frame
    _register_frame(app, site)
    for page in PAGES:
        page.register(app, site)
    _harden(app)
    return app


def _frame() -> Any:
    header = dmc.Group(
        [
            dmc.Group(
                [
                    dmc.Burger(id=Shell.BURGER, opened=False, size="sm", hiddenFrom="sm"),
                    html.Span(className="mlw-mark"),
                    dmc.Text("mlwarehouse", fw=700, size="lg", className="mlw-name"),
                ],
                gap="sm",
            ),
            dmc.Group(
                [
                    dmc.Text("", id=Shell.READ_AT, size="xs", c="dimmed", visibleFrom="xs"),
                    dmc.ColorSchemeToggle(
                        lightIcon=ui.icon("sun"),
                        darkIcon=ui.icon("moon"),
                        variant="default",
                        size="lg",
                        radius="md",
                        attributes={"root": {"aria-label": "Switch between light and dark"}},
                    ),
                ],
                gap="md",
            ),
        ],
        justify="space-between",
        h="100%",
        px="md",
    )
    shell = dmc.AppShell(
        [
            dmc.AppShellHeader(header),
            dmc.AppShellNavbar(html.Div(id=Shell.NAVIGATION), p="sm"),
            dmc.AppShellMain(
                [html.Div(id=Shell.TROUBLE, className="mlw-trouble"), html.Div(id=Shell.CONTENT)], className="mlw-main"
            ),
        ],
        id=Shell.FRAME,
        header={"height": 56},
        navbar={"width": 200, "breakpoint": "sm", "collapsed": {"mobile": True}},
        padding="md",
    )
    return dmc.MantineProvider(
        [
            dcc.Location(id=Shell.LOCATION, refresh=False),
            dcc.Interval(id=Shell.CLOCK, interval=REFRESH_MS),
            dcc.Store(id=Shell.VERSIONS),
            dcc.Store(id=Shell.MOMENT),
            shell,
        ],
        defaultColorScheme="auto",
        theme={"primaryColor": "blue", "defaultRadius": "md"},
    )


def _register_frame(app: Dash, site: Site) -> None:
    @app.callback(
        Output(Shell.CONTENT, "children"),
        Output(Shell.NAVIGATION, "children"),
        Output(Shell.TROUBLE, "children"),
        Output(Shell.BURGER, "opened"),
        Input(Shell.LOCATION, "pathname"),
        State(Shell.LOCATION, "search"),
    )
    def show(pathname: str, search: str) -> tuple[Any, ...]:
        path = site.path(pathname)
        page = next((p for p in PAGES if p.path == path), None)
        if page is None:
            text = f"There is no page {path}; the pages are in the navigation."
            content: Any = ui.failure(text, title="No such page")
        else:
            try:
                content = page.layout(site, search or "")
            except WarehouseError as error:
                content = ui.failure(str(error))
        return content, _navigation(site, path), [], False

    # Table versions are the cursor: an open page asks again only when something was committed. What depends on the
    # present moment follows MOMENT, which also changes when enough time has passed for a heartbeat to be missed.
    @app.callback(
        Output(Shell.VERSIONS, "data"),
        Output(Shell.MOMENT, "data"),
        Output(Shell.READ_AT, "children"),
        Input(Shell.CLOCK, "n_intervals"),
        State(Shell.VERSIONS, "data"),
        State(Shell.MOMENT, "data"),
    )
    def look(_: int | None, seen: str | None, seen_moment: str | None) -> tuple[Any, ...]:
        try:
            versions, moment = site.reader.versions(), site.reader.moment()
        except WarehouseError as error:
            return no_update, no_update, f"Can't read the warehouse: {error}"
        return (
            no_update if versions == seen else versions,
            no_update if moment == seen_moment else moment,
            f"Read at {dt.datetime.now(dt.UTC):%H:%M} UTC",
        )

    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("mlwarehouse", "openMenu"),
        Output(Shell.FRAME, "navbar"),
        Input(Shell.BURGER, "opened"),
        State(Shell.FRAME, "navbar"),
    )


def _navigation(site: Site, path: str) -> list[Any]:
    return [
        dmc.NavLink(
            label=page.name,
            href=site.href(page.path),
            leftSection=ui.icon(page.icon),
            active=page.path == path,
            className="mlw-navlink",
        )
        for page in PAGES
    ]


def _show_trouble(error: Exception) -> Any:
    """A failure nobody foresaw: the log gets its traceback, the visitor a sentence, the page stays."""
    _log.error("A dashboard callback failed.", exc_info=error)
    message = "A part of this page failed; the server's log says why."
    set_props(Shell.TROUBLE, {"children": ui.failure(message, title="Something went wrong")})
    return no_update


def _harden(app: Dash) -> None:
    """Let a browser run only this app's own scripts, whatever text the warehouse holds."""
    scripts = " ".join(f"'{digest}'" if not digest.startswith("'") else digest for digest in app.csp_hashes())
    policy = "; ".join(
        [
            "default-src 'self'",
            f"script-src 'self' {scripts}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "object-src 'none'",
            "base-uri 'self'",
            "frame-ancestors 'self'",
        ]
    )

    def add_headers(response: Any) -> Any:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        return response

    app.server.after_request(add_headers)
