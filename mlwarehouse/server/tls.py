"""Serving by TLS."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from mlwarehouse.errors import InvalidInputError

FAREWELL_S = 1.0
"""How long a client has to take its leave when the server ends."""


def tls_options(cert: Path, key: Path) -> dict[str, Any]:
    """What the server is told about TLS, once its files are known to be usable.

    Args:
        cert: The certificate, with those between it and the authority's, as PEM.
        key: Its key, likewise.

    Raises:
        InvalidInputError: They can't be used.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except OSError as error:
        raise InvalidInputError(
            f"TLS can't be served with the certificate `{cert}` and the key `{key}`: {error}. Both are PEM files, and "
            "the key is the certificate's, without a password."
        ) from error
    return {"ssl_certfile": str(cert), "ssl_keyfile": str(key), "http": LeavingProtocol}


class LeavingProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Ends a connection when the server ends, though its client says nothing.

    By TLS both sides say that they end, and asyncio waits half a minute for the client's word; a client that only keeps
    the connection for its next call never says it.
    """

    _is_leaving = False

    def shutdown(self) -> None:
        """Begin to end."""
        self._is_leaving = True
        super().shutdown()
        self._leave()

    def on_response_complete(self) -> None:
        """Go on, or end, when an answer is sent."""
        super().on_response_complete()
        self._leave()

    def _leave(self) -> None:
        if self._is_leaving and self.transport.is_closing():
            self.loop.call_later(FAREWELL_S, self.transport.abort)
