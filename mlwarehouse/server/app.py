"""The application: which address is answered by whom."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mlwarehouse._version import __version__
from mlwarehouse.access.service import Access
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.mlflow_api import Call, MlflowStore, call_path, find_call, methods_of
from mlwarehouse.mlflow_api.checks import MOST_BODY_BYTES
from mlwarehouse.server import api, probes
from mlwarehouse.server.access import check_gated, gated
from mlwarehouse.server.admission import Admission, Limits, require
from mlwarehouse.server.answers import HEADERS, answer, guarded, refuse
from mlwarehouse.server.calling import answered
from mlwarehouse.server.dashboards import dashboard_routes
from mlwarehouse.server.files import ROUTES
from mlwarehouse.server.limits import Buckets
from mlwarehouse.server.log_in import ROUTES as LOG_IN
from mlwarehouse.server.measures import Measures
from mlwarehouse.server.mlflow_ui import page_routes
from mlwarehouse.server.observing import ANYTHING, Observed, note
from mlwarehouse.server.oidc import SESSION_S, LogIn, session_key
from mlwarehouse.server.openapi import ROUTES as OPENAPI
from mlwarehouse.server.options import Options
from mlwarehouse.server.shield import Shield

MLFLOW_VERSION = "3.17.2"
"""The release of MLflow whose API this is: what `/version` says, which its clients ask."""

MOST_BYTES = 32 << 20
"""The longest body of a call that logs no file."""

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


STRANGERS_PER_S = 5.0
STRANGERS_AT_ONCE = 50
"""Requests of an address from which nobody says who they are."""


def create_app(
    store: MlflowStore,
    hosts: Sequence[str] = (),
    *,
    access: Access | None = None,
    rate_limit: float = 0,
    has_tls: bool = False,
    options: Options | None = None,
    log_in: LogIn | None = None,
) -> FastAPI:
    """The application.

    Args:
        store: What is served; it is closed when the application ends.
        hosts: The names under which it may be asked; none of them means all.
        access: Who may do what; None means that everybody may do everything.
        rate_limit: Requests a second of each user, five times as many at once; 0 for as many as come.
        has_tls: Whether it is served by TLS.
        options: What else it does.
        log_in: The log-in of people; None where they bring tokens like programs.
    """
    options = options or Options()

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        check_gated(app.routes)
        app.state.readiness = probes.Readiness(store.warehouse)
        app.state.api = api.Api(store.warehouse, measures, options.limits, allow_code=options.allow_code)
        yield
        await run_in_threadpool(app.state.api.close)
        await run_in_threadpool(store.close)

    application = FastAPI(
        title="mlwarehouse",
        version=__version__,
        lifespan=living,
        openapi_url=None,
        routes=gated(
            [
                Route("/health", _health),
                Route("/version", _version),
                *probes.ROUTES,
                *ROUTES,
                *api.ROUTES,
                *(page_routes(options.mlflow_page) if options.mlflow_page is not None else ()),
                *(dashboard_routes(options.dashboards) if options.dashboards is not None else ()),
                *OPENAPI,
                *LOG_IN,
                Route(ANYTHING, _call, methods=METHODS),
            ]
        ),
    )
    application.state.store = store
    limits = Limits(Buckets(rate_limit, 5 * rate_limit), Buckets(STRANGERS_PER_S, STRANGERS_AT_ONCE))
    application.state.admission = Admission(store, access, limits, log_in)
    if log_in is not None:
        application.add_middleware(
            SessionMiddleware,
            secret_key=session_key(store.recorder.folder.path),
            session_cookie="__Host-mlwarehouse" if log_in.is_by_tls else "mlwarehouse",
            max_age=SESSION_S,
            same_site="lax",
            https_only=log_in.is_by_tls,
        )
    application.add_middleware(Shield, hosts=hosts, has_tls=has_tls)
    measures = application.state.measures = Measures(store.warehouse if store is not None else None)
    # Added last, it stands before all others.
    application.add_middleware(Observed, measures=measures, routes=application.routes, log=options.log)
    return application


async def _health(request: Request) -> Response:
    del request
    return PlainTextResponse("OK", headers=HEADERS)


async def _version(request: Request) -> Response:
    del request
    return PlainTextResponse(MLFLOW_VERSION, headers=HEADERS)


@guarded
async def _call(request: Request) -> Response:
    path = call_path(request.url.path) or ""
    found = find_call(request.method, path)
    if found is None:
        return _nobody(request, path)
    call, named = found
    note(request.scope, route=f"mlflow/{call.path}")
    require(request.scope, call.needs)
    body = await _body(request, call)
    if named:
        body = {**(body if isinstance(body, dict) else {}), **named}
    return answer(await run_in_threadpool(answered, request, call, body))


async def _body(request: Request, call: Call) -> Any:
    if request.method == "GET":
        lists = {name for field in call.fields if field.many for name in (field.name, field.other)}
        given = request.query_params
        return {name: given.getlist(name) if name in lists else given[name] for name in given}
    most = MOST_BODY_BYTES if call.path == "runs/log-batch" else MOST_BYTES
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most:
            raise InvalidInputError(
                f"Batched logging API requests must be at most {most} bytes, got a request of size "
                f"{request.headers.get('content-length', f'more than {most}')}."
            )
    if not content:
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/json":
        raise InvalidInputError(f"Bad Request. Content-Type must be application/json; got `{kind}`.")
    try:
        body = json.loads(content)
        # Early clients wrote JSON into a JSON text.
        return json.loads(body) if isinstance(body, str) else body
    except (ValueError, RecursionError):
        # As MLflow's server does: what is required is then missing.
        return {}


def _nobody(request: Request, path: str) -> Response:
    """The answer to what no call is for. Never a fault of the server: clients would ask again for minutes."""
    methods = methods_of(path)
    if methods:
        return refuse("BAD_REQUEST", f"`{path}` is asked by {' or '.join(methods)}, not {request.method}.", 405)
    if path or request.url.path.startswith(("/api/", "/ajax-api/", "/v1/")):
        return refuse(
            "NOT_IMPLEMENTED",
            f"{request.method} {request.url.path} isn't answered by mlwarehouse; docs/server.md lists what is.",
            501,
        )
    return refuse("ENDPOINT_NOT_FOUND", f"There is nothing at {request.url.path}.", 404)
