"""The dashboards under the server's own roof: the same address, the same names, the same rights."""

from __future__ import annotations

from typing import cast
from wsgiref.types import WSGIApplication

from a2wsgi import WSGIMiddleware
from a2wsgi.wsgi_typing import WSGIApp
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from mlwarehouse.server.answers import HEADERS
from mlwarehouse.server.options import DASHBOARDS

THREADS = 8
"""Threads that answer the dashboards' questions, so that these never take those that answer MLflow's clients."""


async def _shown_first(request: Request) -> Response:
    del request
    return RedirectResponse(f"{DASHBOARDS}/", headers=HEADERS)


def dashboard_routes(app: WSGIApplication) -> tuple[BaseRoute, ...]:
    """The addresses of the dashboards; the server's own address leads there where nothing else is at it."""
    mounted = WSGIMiddleware(cast(WSGIApp, app), workers=THREADS)
    return (
        Mount(DASHBOARDS, cast(ASGIApp, mounted)),
        *(Route(path, _shown_first, methods=["GET"]) for path in (DASHBOARDS, "/")),
    )
