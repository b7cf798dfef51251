"""What those ask who look after servers: whether it lives, whether it can work, and its measures."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mlwarehouse.errors import StorageError, WarehouseError
from mlwarehouse.server.answers import HEADERS, answer
from mlwarehouse.server.measures import CONTENT_TYPE, Measures
from mlwarehouse.server.observing import note

if TYPE_CHECKING:
    from mlwarehouse.mlflow_api import MlflowStore
    from mlwarehouse.warehouse import Warehouse

OK, FAILING = "ok", "failing"

LAG_S = 60.0
"""How long logged rows may wait with no committer alive: a new one is started within seconds."""


async def _lives(request: Request) -> Response:
    del request
    return PlainTextResponse("OK", headers=HEADERS)


async def _is_ready(request: Request) -> Response:
    checks = await run_in_threadpool(look, cast("MlflowStore", request.app.state.store).warehouse)
    wrong = {name: check for name, check in checks.items() if check != OK}
    # Why is for the log: it names folders, and everybody may ask.
    note(request.scope, **wrong)
    told = {name: OK if check == OK else FAILING for name, check in checks.items()}
    return answer({"status": FAILING if wrong else OK, "checks": told}, 503 if wrong else 200)


async def _measured(request: Request) -> Response:
    measures: Measures = request.app.state.measures
    return Response(await run_in_threadpool(measures.text), headers={**HEADERS, "Content-Type": CONTENT_TYPE})


def look(warehouse: Warehouse) -> dict[str, str]:
    """Whether a warehouse can be read, logged to and committed to.

    Returns:
        By what was looked at, ``ok`` or what is wrong: ``tables``, ``spool``, ``committer``.
    """
    return {name: _said(lambda check=check: check(warehouse)) for name, check in CHECKS.items()}  # type: ignore[misc]


def _said(check: Callable[[], None]) -> str:
    try:
        check()
    except (WarehouseError, OSError) as error:
        return " ".join(str(error).split())
    return OK


def _tables(warehouse: Warehouse) -> None:
    warehouse.place()
    warehouse.versions()


def _spool(warehouse: Warehouse) -> None:
    place = warehouse.spool().segments_path
    if not os.access(place, os.W_OK | os.X_OK):
        raise StorageError(f"`{place}` can't be written.")


def _committer(warehouse: Warehouse) -> None:
    health, folder = warehouse.spool_health(), warehouse.spool()
    try:
        why = json.loads((folder.path / "trouble").read_text(encoding="utf-8"))["why"]
    except (OSError, ValueError, KeyError):
        why = None
    if why is not None and health.n_waiting:
        raise StorageError(f"{health.n_waiting} logged rows wait, and can't be committed: {why}")
    if not health.has_committer and health.lag_s > LAG_S:
        raise StorageError(
            f"{health.n_waiting} logged rows have waited {health.lag_s:.0f} s, and no committer is alive."
        )


CHECKS: dict[str, Callable[[Warehouse], None]] = {"tables": _tables, "spool": _spool, "committer": _committer}
"""What is looked at."""

ROUTES: tuple[Route, ...] = (
    Route("/healthz", _lives, methods=["GET"]),
    Route("/readyz", _is_ready, methods=["GET"]),
    Route("/metrics", _measured, methods=["GET"]),
)
"""The addresses of probes."""
