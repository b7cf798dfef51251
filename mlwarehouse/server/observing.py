"""Every request seen from outside: its id, what it is counted as, and its line in the log."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterable, MutableMapping
from contextvars import ContextVar
from typing import Any

from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlwarehouse.server.measures import Measures

LOGGER = logging.getLogger("mlwarehouse.server")

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being answered, for whatever is written down about it."""

_ID = re.compile(r"[A-Za-z0-9._:=+/@-]{1,128}")

_NOTES = "mlwarehouse.notes"

ANYTHING = "/{rest:path}"
"""The path of the route that takes what no other does."""


class BrokenAnswerError(Exception):
    """An answer of which a part was sent can't be finished; it is broken off, so that nobody takes it for whole."""


def note(scope: MutableMapping[str, Any], **values: Any) -> None:
    """Add something to a request's line in the log; `route` is what the request is counted as."""
    scope.setdefault(_NOTES, {}).update(values)


class Observed:
    """Stands before the application: gives each request an id, counts it, and logs it."""

    def __init__(
        self, app: ASGIApp, measures: Measures, routes: Iterable[BaseRoute], log: Callable[[str], None] | None
    ) -> None:
        """Stand before an application.

        Args:
            app: The application.
            measures: Counts requests.
            routes: The application's, by whose paths requests are counted.
            log: Takes each request's line, without its end; None logs none.
        """
        self._app, self._measures, self._log = app, measures, log
        self._paths: dict[Any, str] = {
            r.endpoint if isinstance(r, Route) else r.app: r.path
            for r in routes
            if isinstance(r, Route | Mount) and r.path != ANYTHING
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        notes: dict[str, Any] = scope.setdefault(_NOTES, {})
        status = n_bytes = 0

        async def sending(message: Message) -> None:
            nonlocal status, n_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", request_id.encode())]}
            elif message["type"] == "http.response.body":
                n_bytes += len(message.get("body", b""))
            await send(message)

        begun = time.perf_counter()
        token = REQUEST_ID.set(request_id)
        try:
            await self._app(scope, receive, sending)
        except BrokenAnswerError as error:
            # Whoever serves us ends the connection of an answer that has no end.
            notes["broken"] = str(error)
        finally:
            REQUEST_ID.reset(token)
            seconds = time.perf_counter() - begun
            route = str(notes.pop("route", "") or self._paths.get(scope.get("endpoint"), "other"))
            self._measures.count(scope["method"], route, status, seconds)
            if self._log is not None:
                self._log(_line(scope, request_id, route, status, n_bytes, seconds, notes))


def write_line(line: str) -> None:
    """Write a line of the log to standard output; where that is gone or full, say so once in the program's own log."""
    global _is_writable
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        if _is_writable:
            _is_writable = False
            LOGGER.error("requests can't be logged any more: %s", error)


_is_writable = True


def _line(
    scope: Scope, request_id: str, route: str, status: int, n_bytes: int, seconds: float, notes: dict[str, Any]
) -> str:
    client = scope.get("client")
    return json.dumps(
        {
            "at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            "request_id": request_id,
            "method": scope["method"],
            # The query isn't logged: it may hold what somebody asked for in confidence.
            "path": scope["path"],
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 3),
            "bytes": n_bytes,
            "client": client[0] if client else None,
            **notes,
        },
        ensure_ascii=True,
        default=str,
    )
