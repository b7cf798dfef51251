"""Service tokens: 256 random bits, of which only a hash is kept.

A plain SHA-256 is right here, and would be wrong for passwords: what slow hashes are for is guessing, and nobody
guesses 256 random bits, however fast each try is; while each call of each client is checked against one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

PREFIX = "mlwh"
"""What a token begins with, so that programs that look for leaked secrets know one."""

_TOKEN = re.compile(rf"{PREFIX}_(?P<id>[0-9a-f]{{12}})_(?P<secret>[A-Za-z0-9_-]{{43}})")
_NONE = hashlib.sha256(b"").hexdigest()


def new_token() -> tuple[str, str, str]:
    """A new token: its text, its id, and the hash that is kept of it."""
    token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return f"{PREFIX}_{token_id}_{secret}", token_id, _hash(secret)


def token_id_of(text: str) -> str | None:
    """The id in a token's text; None where it isn't one."""
    match = _TOKEN.fullmatch(text)
    return match["id"] if match else None


def is_token(text: str, kept: str | None) -> bool:
    """Whether a text is the token of which a hash is kept, in a time that says nothing of how much of it is right.

    Args:
        text: What was sent.
        kept: The hash; None where there is no token of this id, which takes as long.
    """
    match = _TOKEN.fullmatch(text)
    is_same = hmac.compare_digest(_hash(match["secret"] if match else text), kept or _NONE)
    return is_same and kept is not None and match is not None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
