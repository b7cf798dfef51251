"""Errors of our own API, as problem details (RFC 9457)."""

from __future__ import annotations

import functools
import http
import json
import logging
import re
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mlwarehouse.errors import StorageError, WarehouseError
from mlwarehouse.server.answers import HEADERS
from mlwarehouse.server.observing import REQUEST_ID, note

LOGGER = logging.getLogger("mlwarehouse.server")

MEDIA_TYPE = "application/problem+json"

Handler = Callable[[Request], Awaitable[Response]]


def problem(kind: str, title: str, detail: str, status: int, code: str) -> Response:
    """An error as an answer.

    Args:
        kind: What sort of problem it is, in small letters with hyphens.
        title: The same for people; the same for each problem of the kind.
        detail: What is wrong this time, and what to do.
        status: The HTTP status.
        code: The error's code, as clients of MLflow's know it.
    """
    body = {
        "type": f"urn:mlwarehouse:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": REQUEST_ID.get(),
    }
    return Response(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"), status, HEADERS, MEDIA_TYPE)


def problem_of(error: WarehouseError) -> Response:
    """An error of ours as an answer: what can't be read or written just now is a fault of the server's that passes."""
    name = type(error).__name__.removesuffix("Error")
    kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
    title = (type(error).__doc__ or name).strip().split("\n", 1)[0].split(";", 1)[0].rstrip(".")
    status, code = error.http_status, error.code
    if isinstance(error, StorageError) and status == 500:
        LOGGER.error("%s", error)
        status, code = 503, "TEMPORARILY_UNAVAILABLE"
    return problem(kind, title, str(error), status, code)


def plain_problem(status: int, detail: str) -> Response:
    """A problem that the status says all of."""
    known = http.HTTPStatus(status)
    return problem(known.name.lower().replace("_", "-"), known.phrase, detail, status, known.name)


def guarded(handle: Handler) -> Handler:
    """A handler of our own API, whose failures are answered as problems."""

    @functools.wraps(handle)
    async def handling(request: Request) -> Response:
        try:
            return await handle(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except WarehouseError as error:
            note(request.scope, error=type(error).__name__)
            return problem_of(error)
        except Exception:
            LOGGER.exception("%s %s failed", request.method, request.url.path)
            return plain_problem(500, f"The server failed to answer; its log says why, at request {REQUEST_ID.get()}.")

    return handling
