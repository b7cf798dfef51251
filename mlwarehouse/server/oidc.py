"""People by their organization's log-in: OpenID Connect, by Authlib.

A browser is sent to the provider and comes back with a code (authorization code, with PKCE, state and nonce); who its
user is stays in a signed cookie. A program may bring a JWT of the same provider as its bearer token.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import ipaddress
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from authlib.integrations.starlette_client import OAuth
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

from mlwarehouse.access.service import is_user_name
from mlwarehouse.errors import InvalidInputError, PermissionDeniedError, StorageError

HTTP_ERROR: type[Exception] = importlib.import_module(
    "httpx2" if importlib.util.find_spec("httpx2") else "httpx"
).HTTPError
"""What Authlib's requests fail with: it takes the newer of the two libraries where it is installed."""

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a key that only the provider has. Others would let whoever knows a public key, or nothing, sign."""

SESSION_S = 8 * 3600
"""How long a browser stays logged in, whatever it does."""

KEYS_AGAIN_S = 60.0
"""How often the provider's keys are fetched anew at most, when a token names one that isn't known."""

CLOCKS_APART_S = 60
"""How far the clocks of provider and server may be apart."""

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class LogInSettings:
    """What a log-in needs to know.

    Attributes:
        issuer: The provider's address, as it calls itself.
        client_id: What the provider calls this server.
        client_secret: What this server proves that by.
        public_url: What browsers call this server.
        name_claim: What a user's name is called in the provider's tokens.
        groups_claim: What the list of a user's groups is called there.
        audience: For whom a program's token must be; empty means `client_id`.
    """

    issuer: str
    client_id: str
    client_secret: str
    public_url: str
    name_claim: str = "email"
    groups_claim: str = "groups"
    audience: str = ""


@dataclass(frozen=True)
class Person:
    """Whom the provider names.

    Attributes:
        name: Their name.
        groups: Their groups.
    """

    name: str
    groups: tuple[str, ...]


class LogIn:
    """A provider, and what is known of it."""

    def __init__(self, settings: LogInSettings, *, clock: Callable[[], float] = time.time) -> None:
        """Prepare; the provider is asked when somebody comes.

        Raises:
            InvalidInputError: An address that isn't secret on its way.
        """
        for what, url in (("issuer", settings.issuer), ("public URL", settings.public_url)):
            if not _is_secret(url):
                raise InvalidInputError(f"The log-in's {what} `{url}` isn't an https:// address.")
        self.settings = settings
        self.now = clock
        self.client = OAuth().register(
            "provider",
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid email profile",
                "code_challenge_method": "S256",
                "timeout": TIMEOUT_S,
            },
        )
        self._keys: KeySet | None = None
        self._keys_at = 0.0
        self._lock = asyncio.Lock()

    @property
    def is_by_tls(self) -> bool:
        """Whether browsers reach this server by TLS."""
        return self.settings.public_url.startswith("https://")

    async def provider(self) -> Mapping[str, Any]:
        """What the provider says of itself.

        Raises:
            StorageError: It can't be asked just now.
            InvalidInputError: It calls itself otherwise, or signs in no way that is safe.
        """
        try:
            found: dict[str, Any] = await self.client.load_server_metadata()
        except (HTTP_ERROR, ValueError) as error:
            raise StorageError(f"The log-in at `{self.settings.issuer}` can't be asked just now: {error}") from error
        if found.get("issuer") != self.settings.issuer:
            raise InvalidInputError(f"The log-in at `{self.settings.issuer}` calls itself `{found.get('issuer')}`.")
        offered = found.get("id_token_signing_alg_values_supported") or ["RS256"]
        found["id_token_signing_alg_values_supported"] = [name for name in offered if name in ALGORITHMS]
        if not found["id_token_signing_alg_values_supported"]:
            raise InvalidInputError(f"The log-in at `{self.settings.issuer}` signs by none of {', '.join(ALGORITHMS)}.")
        return found

    async def bearer(self, token: str) -> Person | None:
        """Whom a program's token names; None where it isn't one of the provider's, or doesn't hold.

        Raises:
            StorageError: The provider's keys can't be fetched just now.
            PermissionDeniedError: It names nobody.
        """
        metadata = await self.provider()
        algorithms = metadata["id_token_signing_alg_values_supported"]
        claims = JWTClaimsRegistry(
            leeway=CLOCKS_APART_S,
            now=lambda: int(self.now()),
            iss={"essential": True, "value": self.settings.issuer},
            aud={"essential": True, "value": self.settings.audience or self.settings.client_id},
            exp={"essential": True},
        )
        for is_again in (False, True):
            keys = await self._key_set(is_again=is_again)
            if keys is None:
                return None
            try:
                found = jwt.decode(token, keys, algorithms=algorithms)
                claims.validate(found.claims)
            except (JoseError, ValueError, TypeError):
                continue
            return self.person(found.claims)
        return None

    def person(self, claims: Mapping[str, Any]) -> Person:
        """Whom the provider's words name.

        Raises:
            PermissionDeniedError: Nobody, by a name that can be one.
        """
        word = self.settings.name_claim
        name = claims.get(word)
        if not isinstance(name, str) or not is_user_name(name):
            raise PermissionDeniedError(f"The log-in tells no `{word}` that can be a name; another claim may have it.")
        if word == "email" and claims.get("email_verified") is not True:
            raise PermissionDeniedError(f"The log-in doesn't say that `{name}` is verified as theirs.")
        groups = claims.get(self.settings.groups_claim)
        return Person(name, tuple(g for g in groups if isinstance(g, str)) if isinstance(groups, list) else ())

    async def _key_set(self, *, is_again: bool) -> KeySet | None:
        """The provider's keys; None where they were fetched anew just now."""
        async with self._lock:
            if self._keys is not None and not is_again:
                return self._keys
            if self._keys is not None and self.now() - self._keys_at < KEYS_AGAIN_S:
                return None
            try:
                self._keys = KeySet.import_key_set(await self.client.fetch_jwk_set(force=True))
            except (HTTP_ERROR, ValueError, RuntimeError, JoseError) as error:
                raise StorageError(
                    f"The keys of `{self.settings.issuer}` can't be fetched just now: {error}"
                ) from error
            self._keys_at = self.now()
            return self._keys


def session_key(folder: Path) -> str:
    """The key by which cookies are signed, kept in a folder of this machine that only its owner reads."""
    path = folder / "session.key"
    try:
        # Made with its text at once: of two that begin together one makes it, and the other reads it whole.
        fresh = path.with_suffix(f".{secrets.token_hex(8)}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_hex(32), encoding="ascii")
        try:
            path.hardlink_to(fresh)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise StorageError(f"The key for log-ins can't be kept in `{path}`: {error}") from error


def _is_secret(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return True
    try:
        is_here = parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        is_here = False
    return parts.scheme == "http" and is_here
