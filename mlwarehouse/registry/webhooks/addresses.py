"""Where a webhook's requests may go: never to a machine that only we can reach, unless that was allowed.

The name is resolved once for each request, all its addresses are looked at, and the connection is made to one of those
that were looked at: a name that means another machine a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from mlwarehouse.errors import InvalidInputError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

Resolve = Callable[[str, int], list[str]]
"""The addresses of a host's name."""

_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
MAX_URL = 2000


@dataclass(frozen=True)
class Target:
    """A webhook's address, taken apart.

    Attributes:
        host: The host's name or address, in ASCII.
        port: The port.
        path: What is asked of the host, with the query.
        is_tls: Whether the connection is encrypted.
        allow_private: Whether the host may be one that only we can reach.
    """

    host: str
    port: int
    path: str
    is_tls: bool
    allow_private: bool

    @classmethod
    def of(cls, url: str, *, allow_private: bool, allow_http: bool) -> Target:
        """Take an address apart, without asking anybody.

        Raises:
            InvalidInputError: It isn't one, or not one that is allowed.
        """
        if not isinstance(url, str) or len(url) > MAX_URL or not url.isprintable() or " " in url or "\\" in url:
            raise InvalidInputError(f"A webhook's address has up to {MAX_URL} characters, without blanks: {url!r:.80}.")
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").encode("idna").decode(), parts.port
        except ValueError as error:
            raise InvalidInputError(f"`{url}` isn't an address that a webhook can have: {error}.") from error
        if parts.scheme not in ("https", "http") or not host:
            raise InvalidInputError(f"A webhook's address begins with https:// and a host's name; got `{url}`.")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise InvalidInputError(
                "A webhook's address has no user, password or fragment: it is kept where everybody can read it. Pass "
                "secret=, by which requests are signed."
            )
        if parts.scheme == "http" and not allow_http:
            raise InvalidInputError(
                f"`{url}` goes without TLS, so others can read what is sent; use https://, or allow_http=True."
            )
        if not (url.isascii()):
            raise InvalidInputError(f"`{url}` has characters that an address can't have; encode them by `%`.")
        if not allow_private:
            _refuse_literal(host)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(host, port or (443 if parts.scheme == "https" else 80), path, parts.scheme == "https", allow_private)

    def addresses(self, resolve: Resolve) -> list[str]:
        """The addresses to connect to.

        Raises:
            PrivateAddressError: One of them isn't public, and that isn't allowed.
            OSError: The name can't be resolved.
        """
        found = resolve(self.host, self.port)
        if not found:
            raise OSError(f"`{self.host}` has no address")
        if not self.allow_private:
            for text in found:
                if not is_public(ipaddress.ip_address(text.partition("%")[0])):
                    raise PrivateAddressError(
                        f"`{self.host}` is {text}, which isn't a public address; allow_private= would let it be told"
                    )
        return found


class PrivateAddressError(OSError):
    """A name means a machine that only we can reach."""


def is_public(address: Address) -> bool:
    """Whether an address is one that everybody can reach, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and any(address in network for network in _NAT64):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and int(address) >> 32 == 0:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host's name, by the machine's resolver.

    Raises:
        OSError: It has none, or nobody answers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _refuse_literal(host: str) -> None:
    """Refuse numbers that aren't a public address when the webhook is set; names are looked at when they are used."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if (
            not host.rpartition(".")[2].isdigit()
            and not host.startswith("0x")
            and host.rpartition(".")[2] != "localhost"
        ):
            return
    else:
        if is_public(address):
            return
    raise InvalidInputError(
        f"`{host}` isn't a public address; a webhook gets there only with allow_private=True, and addresses in numbers "
        "have four of them."
    )
