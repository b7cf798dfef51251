"""Changing who may do what, and knowing it.

As with the registry, a change is a compare-and-set on an append-only table: it is decided on a state, and its commit
is refused when another one came after that state.
"""

from __future__ import annotations

import datetime as dt
import difflib
import itertools
import json
import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from mlwarehouse.access.needs import LADDER, Role
from mlwarehouse.access.principals import EVERYTHING, Right
from mlwarehouse.access.state import GROUP, PURGED, AccessState, Token, fold
from mlwarehouse.access.tokens import new_token
from mlwarehouse.engines.base import Engine, Txn
from mlwarehouse.errors import (
    ConcurrentChangeError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    WarehouseError,
    did_you_mean,
)
from mlwarehouse.tables import ACCESS_EVENTS, AUDIT

FRESH_S = 0.25
"""How old what is known may be: so long may a revoked token go on."""

MAX_TRIES = 50
"""Of a change that others overtake."""

DAYS = 90
"""How long a token holds unless somebody says otherwise."""

SLIP = 0.75
"""How much alike two names of roles are when one is taken for the other written wrong."""

_COUNTER = "access"
_NAME = re.compile(r"[^\s/:,*?\[\]\x00-\x1f\x7f]{1,250}")
_POLICY_ROLE = re.compile(r"[\w.-]{1,100}")
_COLUMNS = "seq, kind, principal, role, object, token_id, token_name, token_hash, expires_at, event_at"

Decide = Callable[[AccessState], list[dict[str, Any]]]


class Access:
    """Users, groups, roles and tokens of a warehouse's servers. Threads may share it.

    Every change, made or refused, is also a row of `audit`.
    """

    def __init__(
        self, engine: Callable[[], Engine], *, actor: str, clock: Callable[[], dt.datetime] | None = None
    ) -> None:
        """Work on an engine's tables.

        Args:
            engine: Gives the engine.
            actor: The name written beside every change.
            clock: Tells the time (UTC).
        """
        self._engine = engine
        self._actor = actor
        self._clock = clock or (lambda: dt.datetime.now(dt.UTC))
        self._writer_id = f"access:{uuid.uuid4().hex}"
        self._writer_seq = itertools.count()
        self._lock = threading.Lock()
        self._known: tuple[float, int, AccessState] | None = None

    def state(self, *, is_fresh: bool = True) -> AccessState:
        """Who may do what now.

        Args:
            is_fresh: Whether it must be the newest; else it may be `FRESH_S` old.

        Raises:
            StorageError: It can't be read.
        """
        with self._lock:
            known = None if is_fresh else self.glance()
            if known is not None:
                return known
            looked_at, before = time.monotonic(), self._known
            version = self._engine().version(ACCESS_EVENTS)
            if before is not None and before[1] == version:
                state = before[2]
            else:
                # The rows may be newer than the version, never older: then they are read once more.
                rows = self._engine().query(f"SELECT {_COLUMNS} FROM access_events ORDER BY seq")
                state = fold(rows.to_pylist())
            self._known = looked_at, version, state
            return state

    def glance(self) -> AccessState | None:
        """What is known, if it is younger than `FRESH_S`: without waiting for anything."""
        known = self._known
        return None if known is None or time.monotonic() - known[0] > FRESH_S else known[2]

    def now(self) -> dt.datetime:
        """The time (UTC)."""
        return self._clock()

    def add_user(self, name: str, comment: str | None = None) -> None:
        """Let there be a user: a person whom a log-in names, or a program.

        Raises:
            InvalidInputError: A name that can't be.
            ConflictError: There is one.
        """
        if not is_user_name(name):
            raise InvalidInputError(
                f"A user can't be called {name!a}: a name has no spaces and none of `/ : , * ? [ ]`, and at most 250 "
                "characters."
            )

        def decide(state: AccessState) -> list[dict[str, Any]]:
            if name in state.users:
                raise ConflictError(f"There is a user `{name}` already.")
            return [{"kind": "user_added", "principal": name}]

        self._change("add_user", f"users/{name}", decide, {}, comment)

    def remove_user(self, name: str, comment: str | None = None) -> None:
        """Take a user away, with all that they may do; their tokens end.

        Raises:
            NotFoundError: There is none.
        """

        def decide(state: AccessState) -> list[dict[str, Any]]:
            _need_user(state, name)
            return [{"kind": "user_removed", "principal": name}]

        self._change("remove_user", f"users/{name}", decide, {}, comment)

    def grant(self, role: str, principal: str, on: str = EVERYTHING, comment: str | None = None) -> None:
        """Let somebody act as something.

        Args:
            role: ``reader``, ``writer``, ``approver`` or ``admin``, each of which includes those before it; or a role
                that policies of the registry name, for everything.
            principal: A user, or ``group:<name>`` for all whom a log-in says to be of that group.
            on: ``*`` for everything, ``experiments/<id>``, or ``models/<name>`` with ``*`` and ``?`` as in file names.
            comment: Why.

        Raises:
            InvalidInputError: A role, or what it is for, that can't be.
            NotFoundError: There is no such user.
        """
        right = _right(role, on)

        def decide(state: AccessState) -> list[dict[str, Any]]:
            if not principal.startswith(GROUP):
                _need_user(state, principal)
            elif not is_user_name(principal.removeprefix(GROUP)):
                raise InvalidInputError(f"A group can't be called `{principal}`; it is {GROUP}<name>.")
            return [{"kind": "role_granted", "principal": principal, **vars(right)}]

        self._change("grant", right.object, decide, {"principal": principal, "role": role}, comment)

    def revoke(self, role: str, principal: str, on: str = EVERYTHING, comment: str | None = None) -> None:
        """Take back what `grant` gave.

        Raises:
            NotFoundError: They don't have that role there.
        """
        right = Right(role, on)

        def decide(state: AccessState) -> list[dict[str, Any]]:
            has = state.rights.get(principal, frozenset())
            if right not in has:
                told = ", ".join(sorted(f"{r.role} on {r.object}" for r in has)) or "nothing"
                raise NotFoundError(f"`{principal}` isn't granted {role} on {on}; they have {told}.")
            return [{"kind": "role_revoked", "principal": principal, **vars(right)}]

        self._change("revoke", on, decide, {"principal": principal, "role": role}, comment)

    def create_token(
        self,
        user: str,
        name: str,
        *,
        role: str | None = None,
        days: float | None = DAYS,
        comment: str | None = None,
    ) -> tuple[str, Token]:
        """Make a token for a user.

        Args:
            user: The user.
            name: What it is called, such as the machine that has it.
            role: The most that it may do; None for all that its user may.
            days: How long it holds; None for ever.
            comment: Why.

        Returns:
            The token's text, which is kept nowhere and can't be told again; and what is known of it.

        Raises:
            InvalidInputError: A name, role or time that can't be.
            NotFoundError: There is no such user.
            ConflictError: The user has a token of this name.
        """
        if not name.strip() or len(name) > 250 or not name.isprintable():
            raise InvalidInputError(f"A token needs a name; got {name!a}.")
        if role is not None:
            _ladder_role(role)
        if days is not None and not 0 < days <= 36_500:
            raise InvalidInputError(f"A token holds for some days; got {days:g}.")
        now = self._clock()
        text, token_id, kept = new_token()
        ends = None if days is None else now + dt.timedelta(days=days)
        event = {
            "kind": "token_created",
            "principal": user,
            "role": role,
            "token_id": token_id,
            "token_name": name,
            "token_hash": kept,
            "expires_at": ends,
        }

        def decide(state: AccessState) -> list[dict[str, Any]]:
            _need_user(state, user)
            if any(t.user == user and t.name == name and t.holds(now) for t in state.tokens.values()):
                raise ConflictError(f"`{user}` has a token `{name}`; revoke it, or choose another name.")
            return [event]

        detail = {"token_id": token_id, "name": name, "role": role}
        made = self._change("create_token", f"users/{user}", decide, detail, comment)
        return text, made.tokens[token_id]

    def revoke_token(self, token_id: str, comment: str | None = None) -> Token:
        """End a token; servers know it within a fraction of a second.

        Raises:
            NotFoundError: There is none that holds.
        """

        def decide(state: AccessState) -> list[dict[str, Any]]:
            found = state.tokens.get(token_id)
            if found is None or found.revoked_at is not None:
                raise NotFoundError(f"There is no token `{token_id}` to revoke.{did_you_mean(token_id, state.tokens)}")
            return [{"kind": "token_revoked", "principal": found.user, "token_id": token_id}]

        return self._change("revoke_token", f"tokens/{token_id}", decide, {}, comment).tokens[token_id]

    def _change(
        self, action: str, asked: str, decide: Decide, detail: Mapping[str, Any], comment: str | None
    ) -> AccessState:
        engine, told = self._engine(), {**detail, "comment": comment}
        for _ in range(MAX_TRIES):
            # The counter before the events: see `mlwarehouse.registry.ledger`.
            number = engine.transaction_version(ACCESS_EVENTS, _COUNTER) or 0
            rows = engine.query(f"SELECT {_COLUMNS} FROM access_events ORDER BY seq").to_pylist()
            before = fold(rows)
            try:
                events = decide(before)
            except WarehouseError as refusal:
                self._audit(action, asked, "refused", {**told, "reason": str(refusal)})
                raise
            at = self._clock()
            begin = before.seq + 1
            made = [
                {**dict.fromkeys(_COLUMNS.split(", ")), **e, "seq": begin + n, "event_at": at}
                for n, e in enumerate(events)
            ]
            shared = {"actor": self._actor, "comment": comment}
            if self._append(made, shared, at, Txn(_COUNTER, number + 1)):
                self._audit(action, asked, "allowed", told)
                return fold([*rows, *made])
            time.sleep(random.uniform(0, 0.05))
        raise ConcurrentChangeError(f"Others changed rights {MAX_TRIES} times meanwhile; try again later.")

    def _append(self, rows: list[dict[str, Any]], shared: Mapping[str, Any], at: dt.datetime, txn: Txn) -> bool:
        import pyarrow as pa

        full = [{**row, **shared, **self._envelope(at)} for row in rows]
        table = pa.Table.from_pylist(full, schema=ACCESS_EVENTS.arrow_schema())
        return self._engine().append(ACCESS_EVENTS, table, txns=[txn]).applied

    def _audit(self, action: str, asked: str, outcome: str, detail: Mapping[str, Any]) -> None:
        import pyarrow as pa

        said = json.dumps({k: v for k, v in detail.items() if v is not None}, sort_keys=True)
        row = {"actor": self._actor, "action": action, "object": asked, "outcome": outcome, "detail": said}
        table = pa.Table.from_pylist([{**row, **self._envelope(self._clock())}], schema=AUDIT.arrow_schema())
        self._engine().append(AUDIT, table)

    def _envelope(self, at: dt.datetime) -> dict[str, Any]:
        seq = next(self._writer_seq)
        return {"event_at": at, "recorded_at": at, "writer_id": self._writer_id, "writer_seq": seq}


def is_user_name(name: str) -> bool:
    """Whether a user can be called so."""
    return bool(_NAME.fullmatch(name)) and name != PURGED


def _need_user(state: AccessState, name: str) -> None:
    if name not in state.users:
        raise NotFoundError(
            f"There is no user `{name}`.{did_you_mean(name, state.users)} `mlwarehouse users add` adds one."
        )


def _ladder_role(role: str) -> Role:
    for known in LADDER[1:]:
        if role == known:
            return known
    raise InvalidInputError(
        f"`{role}` isn't a role; there are {', '.join(LADDER[1:])}.{did_you_mean(role, LADDER[1:])}"
    )


def _right(role: str, on: str) -> Right:
    kind, _, name = on.partition("/")
    if on != EVERYTHING and (kind not in ("experiments", "models") or not name):
        raise InvalidInputError(f"A role is for `*`, `experiments/<id>` or `models/<name>`; got `{on}`.")
    if kind == "experiments" and not name.isdecimal():
        raise InvalidInputError(f"An experiment is named by its id, a number; got `{name}`.")
    if role not in LADDER[1:]:
        # A role that only policies know; what looks much like one of ours is a slip of the pen.
        is_slip = difflib.get_close_matches(role.lower(), LADDER, cutoff=SLIP)
        if on != EVERYTHING or is_slip or not _POLICY_ROLE.fullmatch(role):
            _ladder_role(role)
    elif role == "admin" and on != EVERYTHING:
        raise InvalidInputError(f"The role admin is for everything; grant approver on `{on}`.")
    return Right(role, on)
