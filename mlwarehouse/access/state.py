"""What the events of access come to: users, groups, rights, tokens."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from mlwarehouse.access.needs import Role
from mlwarehouse.access.principals import Principal, Right
from mlwarehouse.access.tokens import is_token, token_id_of

PURGED = "purged"
"""What stands in place of a user whom a purge made forget: nobody, whatever was granted to those who had that name."""

GROUP = "group:"
"""What the principal of a group begins with."""


@dataclass(frozen=True)
class Token:
    """A service token, as it is listed.

    Attributes:
        token_id: Its id.
        user: Whose it is.
        name: What it is called.
        role: The most that it may do; None for all that its user may.
        created_at: Since when it is there (UTC).
        expires_at: Until when it holds (UTC); None for ever.
        revoked_at: When it was revoked, or its user removed (UTC); None where neither is so.
        token_hash: What is kept of it.
    """

    token_id: str
    user: str
    name: str
    role: Role | None
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None = None
    token_hash: str = field(default="", repr=False)

    def holds(self, now: dt.datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True)
class AccessState:
    """Who may do what, at one moment.

    Attributes:
        seq: The number of the last event.
        users: Users that there are.
        rights: What users and groups may do.
        tokens: By id, those that don't hold any more included.
    """

    seq: int
    users: frozenset[str]
    rights: Mapping[str, frozenset[Right]]
    tokens: Mapping[str, Token]

    def known_by(self, token: str, now: dt.datetime) -> Principal | None:
        """Whose token it is; None where it is nobody's, or doesn't hold any more."""
        found = self.tokens.get(token_id_of(token) or "")
        if not is_token(token, found.token_hash if found else None) or found is None or not found.holds(now):
            return None
        return Principal(found.user, self.rights.get(found.user, frozenset()), found.role, found.token_id)

    def person(self, name: str, groups: Iterable[str]) -> Principal:
        """Somebody whom a log-in names, with the groups that it says."""
        rights = self.rights.get(name, frozenset())
        return Principal(name, rights.union(*(self.rights.get(GROUP + group, frozenset()) for group in groups)))

    def has_admin(self, now: dt.datetime, *, by_log_in: bool) -> bool:
        """Whether there is somebody who may do everything: by a token that holds, or by a log-in."""
        admins = {name for name, rights in self.rights.items() if Principal(name, rights).may("admin")}
        if by_log_in and admins:
            return True
        return any(t.user in admins and t.role in (None, "admin") and t.holds(now) for t in self.tokens.values())


def fold(events: Iterable[Mapping[str, Any]]) -> AccessState:
    """The state after some events.

    Args:
        events: Rows of `access_events`, by ``seq``.
    """
    users: set[str] = set()
    rights: dict[str, set[Right]] = {}
    tokens: dict[str, Token] = {}
    seq = 0
    for event in events:
        seq, kind, name, at = event["seq"], event["kind"], event["principal"], event["event_at"]
        if name == PURGED:
            continue
        if kind == "user_added":
            users.add(name)
        elif kind == "user_removed":
            users.discard(name)
            rights.pop(name, None)
            for token in [t for t in tokens.values() if t.user == name]:
                tokens[token.token_id] = _revoked(token, at)
        elif kind == "role_granted":
            rights.setdefault(name, set()).add(Right(event["role"], event["object"]))
        elif kind == "role_revoked":
            rights.get(name, set()).discard(Right(event["role"], event["object"]))
        elif kind == "token_created":
            tokens[event["token_id"]] = Token(
                event["token_id"],
                name,
                event["token_name"],
                cast("Role | None", event["role"]),
                at,
                event["expires_at"],
                token_hash=event["token_hash"],
            )
        elif kind == "token_revoked" and event["token_id"] in tokens:
            tokens[event["token_id"]] = _revoked(tokens[event["token_id"]], at)
    return AccessState(seq, frozenset(users), {n: frozenset(r) for n, r in rights.items() if r}, tokens)


def _revoked(token: Token, at: dt.datetime) -> Token:
    return token if token.revoked_at is not None else Token(**{**vars(token), "revoked_at": at})
