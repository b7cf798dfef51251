"""MLflow's web page, out of its installed package: its files, and what it asks that MLflow's clients don't."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from mlwarehouse.errors import InvalidInputError, MissingDependencyError
from mlwarehouse.mlflow_api import find_call
from mlwarehouse.server.admission import require
from mlwarehouse.server.answers import HEADERS, answer, guarded, refuse
from mlwarehouse.server.calling import answered
from mlwarehouse.server.graphql import answer_document
from mlwarehouse.server.nothings import NOTHINGS

MOST_QUESTION_BYTES = 1 << 20

BUILD = Path("server", "js", "build")
"""Where the page is in the package."""

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "frame-ancestors 'self'",
    )
)
"""What a browser lets the page load and run: nothing that isn't the server's."""


def find_page() -> Path:
    """The folder of MLflow's page; MLflow itself isn't loaded.

    Raises:
        MissingDependencyError: MLflow isn't installed, or without its page.
    """
    found = importlib.util.find_spec("mlflow")
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        if (Path(place) / BUILD / "index.html").is_file():
            return Path(place).resolve() / BUILD
    what = "is installed without it (as mlflow-skinny is)" if found is not None else "isn't installed"
    raise MissingDependencyError(f"MLflow's web page is part of its package, which {what}; run `pip install mlflow`.")


@guarded
async def _graphql(request: Request) -> Response:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MOST_QUESTION_BYTES:
            raise InvalidInputError(f"A question in GraphQL has at most {MOST_QUESTION_BYTES} bytes.")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None

    def ask(method: str, path: str, given: Mapping[str, Any]) -> dict[str, Any]:
        found = find_call(method, path)
        assert found is not None, path
        require(request.scope, found[0].needs)
        return answered(request, found[0], dict(given))

    return answer(await run_in_threadpool(answer_document, body, ask))


def _told(body: Mapping[str, Any]) -> Callable[[Request], Awaitable[Response]]:
    async def tell(request: Request) -> Response:
        del request
        return answer(dict(body))

    return tell


def page_routes(page: Path) -> tuple[Route, ...]:
    """The addresses of a page in a folder."""
    files = frozenset(path.relative_to(page).as_posix() for path in page.rglob("*") if path.is_file())

    async def index(request: Request) -> Response:
        del request
        headers = {**HEADERS, "Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin"}
        return FileResponse(page / "index.html", headers=headers)

    async def file(request: Request) -> Response:
        name = request.path_params["path"]
        # Of a list, so that no path leads out of the folder.
        if name not in files:
            return refuse("ENDPOINT_NOT_FOUND", f"MLflow's page has no file {name[:200]!a}.", 404)
        # Names change with the contents.
        lasting = "public, max-age=31536000, immutable" if name.startswith("static/") else "no-cache"
        headers = {**HEADERS, "Content-Security-Policy": POLICY, "Cache-Control": lasting}
        return FileResponse(page / name, headers=headers)

    shown: Callable[[Request], Awaitable[Response]] = index
    return (
        Route("/", shown, methods=["GET"]),
        Route("/static-files/{path:path}", file, methods=["GET"]),
        Route("/graphql", _graphql, methods=["POST"]),
        *(Route(f"/ajax-api/{path}", _told(body), methods=[method]) for (method, path), body in NOTHINGS.items()),
    )
