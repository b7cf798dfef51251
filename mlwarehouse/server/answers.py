"""Answers: JSON as MLflow's clients read it, and errors in their one form."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mlwarehouse.errors import ConflictError, StorageError, WarehouseError

LOGGER = logging.getLogger("mlwarehouse.server")

HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
"""What every answer carries."""


def answer(body: dict[str, Any], status: int = 200) -> Response:
    """An answer with a JSON body."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(text, status, HEADERS, media_type="application/json")


def refuse(code: str, message: str, status: int) -> Response:
    """An error, in MLflow's form."""
    return answer({"error_code": code, "message": message}, status)


def refuse_error(error: WarehouseError) -> Response:
    """An error of ours.

    A client that is told of a fault of the server makes the call again for minutes. So only what may pass is one: the
    tables or the spool can't be read or written just now.
    """
    if isinstance(error, StorageError) and error.http_status == 500:
        LOGGER.error("%s", error)
        return refuse("TEMPORARILY_UNAVAILABLE", str(error), 503)
    if error.code == ConflictError.code:
        return refuse(error.code, str(error), 400)
    return refuse(error.code, str(error), error.http_status)


Handler = Callable[[Request], Awaitable[Response]]


def guarded(handle: Handler) -> Handler:
    """A handler whose failures are answered in the one form."""

    @functools.wraps(handle)
    async def handling(request: Request) -> Response:
        try:
            return await handle(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except WarehouseError as error:
            return refuse_error(error)
        except Exception:
            LOGGER.exception("%s %s failed", request.method, request.url.path)
            return refuse("INTERNAL_ERROR", "The server failed to answer; its log says why.", 500)

    return handling
