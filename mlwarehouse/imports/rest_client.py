"""Asking a server that speaks MLflow's REST API, by the standard library alone; threads may share one client."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import math
import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, cast
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

from mlwarehouse.errors import InvalidInputError, StorageError

TRIES = 5
"""How often a call is made that failed for now, or whose connection broke."""

FOR_NOW = frozenset((408, 429, 500, 502, 503, 504))
"""Statuses that another try may change."""

TIMEOUT_S = 120.0

CHUNK_BYTES = 1 << 20

Body = bytes | Callable[[], BinaryIO] | None
"""What is sent with a call; a file is opened for each try."""

MAX_ANSWER_BYTES = 256 << 20
"""A longer answer is refused; files don't count."""


class Refused(Exception):
    """The server's answer is no; the text says why.

    Attributes:
        status: The HTTP status.
        code: MLflow's error code, such as ``RESOURCE_DOES_NOT_EXIST``.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        """An answer with a status that isn't one of success."""
        super().__init__(f"{code or status}: {message}")
        self.status, self.code = status, code


class RestClient:
    """A server.

    Attributes:
        place: Its address, without user and password.
    """

    def __init__(self, address: str, environ: Mapping[str, str] = os.environ) -> None:
        """Name a server; nobody is asked yet.

        Who asks is told by the variables that MLflow's own client reads, or by the address.

        Args:
            address: Such as ``https://mlflow.example.com``.
            environ: The environment.

        Raises:
            InvalidInputError: The address can't be understood.
        """
        try:
            parts = urlsplit(address)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, SplitResult("", "", "", "", "")
        if parts.scheme not in ("http", "https") or not host:
            raise InvalidInputError("A server's address is written as in https://mlflow.example.com:5000.")
        self._is_tls, self._host, self._port = parts.scheme == "https", host, port
        self._base = parts.path.rstrip("/")
        shown = f"[{host}]" if ":" in host else host
        self.place = f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}{self._base}"
        self._headers = {"Accept-Encoding": "identity", **_credentials(parts, environ)}
        self._tls: ssl.SSLContext | None = None
        if self._is_tls:
            self._tls = ssl.create_default_context(cafile=environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None)
        self._own = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def get(self, path: str, /, **arguments: Any) -> dict[str, Any]:
        """The answer of a call, such as of ``mlflow/runs/get``; arguments that are None are left out.

        Raises:
            Refused: It says no.
            StorageError: It doesn't answer, or not in JSON.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        return self._json("GET", f"{path}?{urlencode(given, doseq=True)}" if given else path, None, again=True)

    def post(self, path: str, /, *, method: str = "POST", again: bool = False, **body: Any) -> dict[str, Any]:
        """The answer of a call with a body; fields that are None are left out.

        Args:
            path: As for `get`.
            method: Another one, such as PATCH.
            again: Whether making it twice does no harm.
            **body: The fields.

        Raises:
            Refused: As for `get`.
            StorageError: Likewise.
        """
        given = {name: value for name, value in body.items() if value is not None}
        return self._json(method, path, json.dumps(_sendable(given), allow_nan=False).encode(), again=again)

    def pages(self, path: str, field: str, /, *, is_get: bool = False, **asked: Any) -> Iterator[list[dict[str, Any]]]:
        """The pages of a search.

        Args:
            path: As for `get`.
            field: The field that has the rows.
            is_get: Whether it is asked by GET.
            **asked: What is asked.

        Raises:
            Refused: As for `get`.
            StorageError: Likewise; or the pages have no end.
        """
        token = None
        while True:
            if is_get:
                answer = self.get(path, **asked, page_token=token)
            else:
                answer = self.post(path, again=True, **asked, page_token=token)
            yield answer.get(field) or []
            following = answer.get("next_page_token") or None
            if following is not None and (following == token or not answer.get(field)):
                raise StorageError(f"`{self.place}` gives the same page of `{path}` again and again.")
            token = following
            if token is None:
                return

    def read(self, path: str, out: BinaryIO, /, **arguments: Any) -> None:
        """Read a file.

        Args:
            path: Below ``/api/2.0/``, or from the server's root with a slash before it.
            out: Gets the bytes.
            **arguments: Arguments of the query.

        Raises:
            Refused: As for `get`.
            StorageError: Likewise.
        """
        query = f"?{urlencode(arguments)}" if arguments else ""
        with self._asked("GET", quote(path) + query, None, {}, again=True) as answer:
            n, promised = 0, answer.getheader("Content-Length")
            while chunk := answer.read(CHUNK_BYTES):
                out.write(chunk)
                n += len(chunk)
            if promised is not None and n != int(promised):
                raise StorageError(f"`{self.place}` broke off `{path}` after {n:,} of {promised} bytes.")

    def send(self, path: str, opened: Callable[[], BinaryIO], size_bytes: int) -> None:
        """Send a file by PUT.

        Args:
            path: As for `read`.
            opened: Opens it, for each try.
            size_bytes: Its size.

        Raises:
            Refused: As for `get`.
            StorageError: Likewise.
        """
        headers = {"Content-Length": str(size_bytes), "Content-Type": "application/octet-stream"}
        with self._asked("PUT", quote(path), opened, headers, again=True) as answer:
            answer.read()

    def _json(self, method: str, path: str, body: bytes | None, *, again: bool) -> dict[str, Any]:
        headers = {} if body is None else {"Content-Type": "application/json"}
        with self._asked(method, path, body, headers, again=again) as answer:
            content = answer.read(MAX_ANSWER_BYTES + 1)
        try:
            if len(content) > MAX_ANSWER_BYTES:
                raise ValueError(f"more than {MAX_ANSWER_BYTES:,} bytes")
            found = json.loads(content or b"{}")
        except (ValueError, RecursionError) as error:
            raise StorageError(f"`{self.place}` doesn't answer `{path}` in JSON: {error}.") from error
        if not isinstance(found, dict):
            raise StorageError(f"`{self.place}` doesn't answer `{path}` as MLflow does.")
        return cast(dict[str, Any], found)

    @contextmanager
    def _asked(
        self, method: str, path: str, body: Body, headers: Mapping[str, str], *, again: bool
    ) -> Iterator[http.client.HTTPResponse]:
        answer = self._answer(method, path, body, headers, again)
        try:
            yield answer
        except (OSError, http.client.HTTPException) as error:
            raise StorageError(f"`{self.place}` broke off its answer to `{path}`: {error}") from error
        finally:
            # What wasn't read to its end can't be followed by another answer.
            if not answer.isclosed():
                self._drop()

    def _answer(
        self, method: str, path: str, body: Body, headers: Mapping[str, str], again: bool
    ) -> http.client.HTTPResponse:
        url = self._base + (path if path.startswith("/") else f"/api/2.0/{path}")
        for tries in range(1, TRIES + 1):
            is_last = tries == TRIES or not again
            try:
                connection = self._connection()
                with contextlib.nullcontext(body) if body is None or isinstance(body, bytes) else body() as content:
                    connection.request(method, url, body=content, headers={**self._headers, **headers})
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                if is_last:
                    raise StorageError(f"`{self.place}` doesn't answer: {error or type(error).__name__}.") from error
            else:
                if answer.status < 300:
                    return answer
                refusal = _refusal(answer)
                if answer.status not in FOR_NOW or is_last:
                    raise refusal
            time.sleep(random.uniform(0.5, 1.0) * 0.25 * 2**tries)
        raise AssertionError("the last try returns or raises")

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is None:
            if self._tls is not None:
                connection = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=self._tls)
            else:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
            self._own.connection = connection
            self._connections.append(connection)
        return connection

    def _drop(self) -> None:
        connection = getattr(self._own, "connection", None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Let go of the connections of all threads, while none of them is used; the next call opens one again."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._own = threading.local()


def number(given: Any) -> float:
    """A metric's value: MLflow writes NaN as text, and the infinities too or as the largest numbers there are."""
    value = float(given)
    return math.copysign(math.inf, value) if abs(value) >= _MOST else value


_MOST = 1.7976931348623157e308


def _sendable(value: Any) -> Any:
    """A value with NaN and the infinities as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {name: _sendable(each) for name, each in value.items()}
    return [_sendable(each) for each in value] if isinstance(value, list | tuple) else value


def _credentials(parts: SplitResult, environ: Mapping[str, str]) -> dict[str, str]:
    token = environ.get("MLFLOW_TRACKING_TOKEN")
    user, password = environ.get("MLFLOW_TRACKING_USERNAME"), environ.get("MLFLOW_TRACKING_PASSWORD")
    if parts.username is not None:
        user, password, token = unquote(parts.username), unquote(parts.password or ""), None
    elif user is None or password is None:
        return {} if token is None else {"Authorization": f"Bearer {token}"}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _refusal(answer: http.client.HTTPResponse) -> Refused:
    content = answer.read(1 << 20)
    try:
        found = json.loads(content)
        return Refused(answer.status, str(found.get("error_code", "")), str(found.get("message", "")))
    except (ValueError, AttributeError):
        where = answer.getheader("Location")
        said = f"it is at {where}" if where else content[:200].decode(errors="replace") or answer.reason
        return Refused(answer.status, "", said)
