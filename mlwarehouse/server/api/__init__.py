"""Our own API, under `/api/v1`: questions in SQL, snapshots, changes, predictions."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from mlwarehouse.server.api import changes, openapi, score, snapshots, sql
from mlwarehouse.server.api.problems import plain_problem
from mlwarehouse.server.api.state import Api, Limits


async def _nothing(request: Request) -> Response:
    asked = f"{request.method} {request.url.path}"
    here = [route for route in ROUTES[:-1] if route.matches(request.scope)[0] is not Match.NONE]
    methods = sorted({method for route in here for method in route.methods or ()} - {"HEAD"})
    if methods:
        return plain_problem(405, f"{request.url.path} is asked by {' or '.join(methods)}, not {request.method}.")
    return plain_problem(404, f"There is nothing at {asked}; /api/v1/openapi.json lists what there is.")


ROUTES: tuple[Route, ...] = (
    *sql.ROUTES,
    *snapshots.ROUTES,
    *changes.ROUTES,
    *score.ROUTES,
    *openapi.ROUTES,
    Route("/api/v1/{rest:path}", _nothing, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
)
"""All of its addresses."""

__all__ = ["ROUTES", "Api", "Limits"]
