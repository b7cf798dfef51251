"""What those ask who look after servers: whether it lives, whether it can work, and its measures."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mlwarehouse.errors import StorageError, WarehouseError
from mlwarehouse.ingest.trouble import trouble_in
from mlwarehouse.server.answers import HEADERS, answer
from mlwarehouse.server.measures import CONTENT_TYPE, Measures
from mlwarehouse.server.observing import note

if TYPE_CHECKING:
    from mlwarehouse.warehouse import Warehouse

OK, FAILING = "ok", "failing"

ALONE_S = 60.0
"""How long logged rows may be seen to wait with no committer alive: a new one is started within seconds."""


async def _lives(request: Request) -> Response:
    del request
    return PlainTextResponse("OK", headers=HEADERS)


async def _is_ready(request: Request) -> Response:
    readiness: Readiness = request.app.state.readiness
    checks = await run_in_threadpool(readiness.look)
    wrong = {name: check for name, check in checks.items() if check != OK}
    # Why is for the log: it names folders, and everybody may ask.
    note(request.scope, **wrong)
    told = {name: OK if check == OK else FAILING for name, check in checks.items()}
    return answer({"status": FAILING if wrong else OK, "checks": told}, 503 if wrong else 200)


async def _measured(request: Request) -> Response:
    measures: Measures = request.app.state.measures
    return Response(await run_in_threadpool(measures.text), headers={**HEADERS, "Content-Type": CONTENT_TYPE})


@dataclass
class Readiness:
    """Whether a warehouse can be read, logged to and committed to. Threads may share it.

    Attributes:
        warehouse: The warehouse.
    """

    warehouse: Warehouse
    _alone_since: float | None = None

    def look(self) -> dict[str, str]:
        """Look now.

        Returns:
            By what was looked at, ``ok`` or what is wrong: ``tables``, ``spool``, ``committer``.
        """
        checks = {"tables": self._tables, "spool": self._spool, "committer": self._committer}
        return {name: _said(check) for name, check in checks.items()}

    def _tables(self) -> None:
        self.warehouse.place()
        self.warehouse.versions()

    def _spool(self) -> None:
        place = self.warehouse.spool().segments_path
        if not os.access(place, os.W_OK | os.X_OK):
            raise StorageError(f"`{place}` can't be written.")

    def _committer(self) -> None:
        health = self.warehouse.spool_health()
        why = trouble_in(self.warehouse.spool().path)
        if why is not None and health.n_waiting:
            raise StorageError(f"{health.n_waiting} logged rows wait, and can't be committed: {why}")
        is_alone = health.n_waiting > 0 and not health.has_committer and self.warehouse.settings.committer == "auto"
        if not is_alone:
            self._alone_since = None
            return
        now = time.monotonic()
        # The rows' own times are what clients say.
        self._alone_since = now if self._alone_since is None else self._alone_since
        if now - self._alone_since > ALONE_S:
            raise StorageError(f"{health.n_waiting} logged rows wait, and no committer is started.")


def _said(check: Callable[[], None]) -> str:
    try:
        check()
    except (WarehouseError, OSError) as error:
        return " ".join(str(error).split())
    return OK


ROUTES: tuple[Route, ...] = (
    Route("/healthz", _lives, methods=["GET"]),
    Route("/readyz", _is_ready, methods=["GET"]),
    Route("/metrics", _measured, methods=["GET"]),
)
"""The addresses of probes."""
