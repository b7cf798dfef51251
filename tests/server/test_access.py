"""Every address says who may use it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Host, Mount, Route, WebSocketRoute

from mlwarehouse import Warehouse
from mlwarehouse.access import LADDER, PUBLIC
from mlwarehouse.mlflow_api import CALLS, Call, MlflowStore
from mlwarehouse.server import Options, create_app, find_page
from mlwarehouse.server.access import NEEDS, Gate, UndeclaredRouteError, check_gated, gated

STATIC = "static-files/{path:path}"


async def _anything(request: Request) -> Response:
    return PlainTextResponse("anything")


@pytest.mark.parametrize(
    "route",
    [
        Route("/new", _anything),
        Route("/health", _anything, methods=["GET", "POST"]),
        Mount("/new", Starlette()),
        WebSocketRoute("/health", _anything),
        Host("example.org", Starlette()),
    ],
)
def test_a_route_that_nothing_is_declared_of_is_refused(route: BaseRoute) -> None:
    with pytest.raises(UndeclaredRouteError):
        gated([route])
    with pytest.raises(UndeclaredRouteError):
        check_gated([*gated([Route("/health", _anything)]), route])


def test_an_empty_declaration_is_none() -> None:
    with pytest.raises(UndeclaredRouteError, match="GET /new"):
        gated([Route("/new", _anything)], {"GET /new": ()})


def test_a_gate_is_on_a_copy() -> None:
    route = Route("/health", _anything)
    [first], [second] = gated([route]), gated([route])
    assert isinstance(first.app, Gate)
    assert isinstance(second.app, Gate)
    assert not isinstance(route.app, Gate)
    assert first.app.needs == {"GET": PUBLIC}


def test_the_application_does_not_start_with_a_route_of_which_nothing_is_declared(tmp_path: Path) -> None:
    async def start() -> None:
        async with app.router.lifespan_context(app):
            pass

    store = MlflowStore(Warehouse(tmp_path / "wh", committer="off"), artifact_root="mlflow-artifacts:")
    app = create_app(store)
    app.add_route("/new", _anything)
    with pytest.raises(UndeclaredRouteError, match="/new"):
        asyncio.run(start())
    store.close()


def _nothing(environment: Any, begin: Any) -> list[bytes]:
    return []


def test_what_is_declared_is_there_and_no_more_is_public() -> None:
    app = create_app(None, options=Options(mlflow_page=find_page(), dashboards=_nothing))
    there = {f"{method} {route.path}" for route in app.routes for method in route.app.needs}
    assert {key for key in NEEDS if not key.startswith("*")} <= there
    public = {key for key, needs in NEEDS.items() if any(need.role == "public" for need in needs)}
    ours = ("health", "version", "login", "login/callback", "logout", "healthz", "readyz", "api/v1/openapi.json")
    assert public == {f"GET /{path}" for path in (*ours, STATIC)}


@pytest.mark.parametrize("call", CALLS, ids=lambda c: f"{c.method} {c.path}")
def test_a_call_needs_what_its_request_names(call: Call) -> None:
    assert call.needs
    fields = {field.name for field in call.fields}
    for need in call.needs:
        assert need.role in LADDER[1:]
        assert bool(need.field) == (need.on not in ("everything", "listed"))
        assert not need.field or need.field in fields
    # What names an experiment, a run or a model acts on it.
    names = {"experiment_id", "run_id", "run_ids", "model_id", "name", "source_run_id"} & fields
    acts = {need.field for need in call.needs}
    if names and call.path != "experiments/create":
        assert names - acts <= ({"name"} if call.path == "logged-models" else set())
    # What changes something takes more than reading.
    if not re.search(r"search|get|list|latest|^logged-models/\{model_id\}$|directories|alias$", call.path):
        assert LADDER.index(call.needs[0].role) >= LADDER.index("writer")
