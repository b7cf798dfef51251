"""MLflow's web page, out of its installed package: its files, and what it asks that MLflow's clients don't."""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from mlwarehouse.errors import MissingDependencyError
from mlwarehouse.server.answers import HEADERS, refuse

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
    return (Route("/", shown, methods=["GET"]), Route("/static-files/{path:path}", file, methods=["GET"]))
