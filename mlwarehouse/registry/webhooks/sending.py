"""One request to a receiver: to the address that was looked at, no further, and within limits of time and size.

It is Python's own HTTP client, on a connection that is made here: no proxies, no redirects, no second look at the name.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from mlwarehouse._version import __version__
from mlwarehouse.registry.webhooks.addresses import PrivateAddressError, Resolve, Target, resolve

LIMIT_S = 10.0
"""Seconds that a request may take, from the connection to the end of the answer."""

MAX_ANSWER = 4096
"""Bytes of an answer that are read; nothing is made of them but a word in a report."""

MAX_RETRY_AFTER_S = 3600.0


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Attributes:
        status: The receiver's status; None when there was no answer.
        reason: What went wrong, in words; empty when it was taken.
        text: The beginning of the answer.
        retry_after_s: How long the receiver wants to be left alone; 0 where it doesn't say.
    """

    status: int | None
    reason: str = ""
    text: str = ""
    retry_after_s: float = 0.0

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has taken it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def may_pass(self) -> bool:
        """Whether another try may go better: there was no answer, or one that says so."""
        return self.status is None or self.status == 429 or self.status >= 500


def send(
    target: Target,
    headers: Mapping[str, str],
    body: bytes,
    *,
    limit_s: float = LIMIT_S,
    resolve: Resolve = resolve,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Send one request; whatever goes wrong is in the answer.

    Args:
        target: Where to.
        headers: The headers.
        body: The body.
        limit_s: Seconds that it may take after the name is resolved.
        resolve: Gives the addresses of a name.
        tls: What certificates are checked by; None means the machine's.
    """
    try:
        addresses = target.addresses(resolve)
    except PrivateAddressError as error:
        return Answer(None, f"not sent: {error}")
    except (OSError, ValueError) as error:
        return Answer(None, f"the name `{target.host}` can't be resolved: {_said(error)}")
    deadline = threading.Event()
    connection = _Connection(target, addresses, limit_s, tls)

    def give_up() -> None:
        deadline.set()
        connection.break_off()

    # A timeout of the socket's would begin anew with each byte that a slow receiver lets drop.
    timer = threading.Timer(limit_s, give_up)
    timer.daemon = True
    timer.start()
    try:
        connection.request(
            "POST", target.path, body=body, headers={**headers, "User-Agent": f"mlwarehouse/{__version__}"}
        )
        response = connection.getresponse()
        text = response.read(MAX_ANSWER).decode("utf-8", "replace")
        if deadline.is_set():
            return Answer(None, f"no answer within {limit_s:g} s")
        return _answer(response.status, text, response.headers.get("Retry-After"))
    except (OSError, http.client.HTTPException, ValueError) as error:
        if deadline.is_set():
            return Answer(None, f"no answer within {limit_s:g} s")
        return Answer(None, f"`{target.host}` can't be reached: {_said(error)}")
    finally:
        timer.cancel()
        connection.close()


def _answer(status: int, text: str, retry_after: str | None) -> Answer:
    reason = "" if 200 <= status < 300 else f"the receiver answered {status}"
    if 300 <= status < 400:
        reason += ", a redirect, which isn't followed"
    # Seconds; a date, which it may be too, is left to the usual waiting.
    wait_s = (
        min(float(retry_after), MAX_RETRY_AFTER_S)
        if retry_after and retry_after.isascii() and retry_after.isdigit()
        else 0.0
    )
    return Answer(status, reason, text, wait_s)


class _Connection(http.client.HTTPConnection):
    """A connection to addresses that were looked at; certificates are those of the host's name."""

    def __init__(self, target: Target, addresses: list[str], limit_s: float, tls: ssl.SSLContext | None) -> None:
        self.default_port = 443 if target.is_tls else 80
        super().__init__(target.host, target.port, timeout=limit_s)
        self._addresses, self._target, self._tls = addresses, target, tls
        self._deadline = time.monotonic() + limit_s

    def connect(self) -> None:
        failed: OSError | None = None
        for address in self._addresses:
            try:
                left_s = self._deadline - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError("no time is left for another address")
                raw = socket.create_connection((address, self.port), left_s)
                break
            except OSError as error:
                failed = error
        else:
            raise failed or OSError("no address")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = raw
        if self._target.is_tls:
            context = self._tls or ssl.create_default_context()
            # The handshake behind it, so that it can be broken off too.
            secured = context.wrap_socket(raw, server_hostname=self._target.host, do_handshake_on_connect=False)
            self.sock = secured
            secured.do_handshake()

    def break_off(self) -> None:
        """End it from another thread: whoever waits on it is told at once."""
        end = self.sock
        if end is not None:
            with contextlib.suppress(OSError):
                # Beneath TLS, which would wait for the other side.
                socket.socket.shutdown(end, socket.SHUT_RDWR)


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
