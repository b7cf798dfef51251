"""What stands before everything else: names, pages of other sites, and what every answer tells browsers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlwarehouse.server.answers import refuse

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

ANSWERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""What every answer says that doesn't say it itself. No other site's page may read one: nothing says that it may."""

OF_DATA = "default-src 'none'; frame-ancestors 'none'"
OF_PAGES = "object-src 'none'; base-uri 'self'; frame-ancestors 'self'"
"""The policies of answers without one of their own: shown as a page, data may do nothing."""

A_YEAR = "max-age=31536000"


class Shield:
    """Refuses what another site's page sends, and what is asked under a name that isn't the server's."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = (), *, has_tls: bool = False) -> None:
        """Stand before an application.

        Args:
            app: The application.
            hosts: The names under which it may be asked; none of them means all.
            has_tls: Whether it is served by TLS, which browsers are told to insist on.
        """
        self._app, self._hosts = app, {host.lower() for host in hosts}
        self._headers = {**ANSWERS, **({"Strict-Transport-Security": A_YEAR} if has_tls else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                is_page = headers.get("content-type", "").startswith("text/html")
                headers.setdefault("Content-Security-Policy", OF_PAGES if is_page else OF_DATA)
            await send(message)

        wrong = self._wrong(scope["method"], Headers(scope=scope))
        if wrong:
            await refuse("PERMISSION_DENIED", wrong, 403)(scope, receive, sending)
        else:
            await self._app(scope, receive, sending)

    def _wrong(self, method: str, headers: Headers) -> str:
        host = headers.get("host", "")
        if self._hosts and _name(host) not in self._hosts:
            return f"The server isn't asked under the name {host[:80]!a}; `--allowed-host` allows one."
        origin = headers.get("origin")
        if method in SAFE or origin is None:
            # A page of another site may send a form without saying where it is from, but then it says this.
            is_foreign = method not in SAFE and headers.get("sec-fetch-site", "none") == "cross-site"
            return "A page of another site may not change anything here." if is_foreign else ""
        from_ = urlsplit(origin).netloc.lower()
        if origin != "null" and (from_ == host.lower() or _name(from_) in self._hosts):
            return ""
        return f"A page of {origin[:80]!a} may not change anything here."


def _name(host: str) -> str:
    return re.sub(r":[0-9]+$", "", host).lower()
