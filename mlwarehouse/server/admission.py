"""Who asks, whether they may, and the rows that say so."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request

from mlwarehouse.access import LADDER, Need, Principal, acting
from mlwarehouse.access.service import Access
from mlwarehouse.access.tokens import token_id_of
from mlwarehouse.errors import PermissionDeniedError
from mlwarehouse.mlflow_api import MlflowStore
from mlwarehouse.server.limits import Buckets
from mlwarehouse.server.observing import REQUEST_ID
from mlwarehouse.server.oidc import LogIn, Person
from mlwarehouse.server.things import said_of, things_of

NOBODY = Principal("(nobody)")
"""Whoever asks without a name: they have what is public."""

LOGS = frozenset(
    {
        "PUT /api/2.0/mlflow-artifacts/artifacts/{where:path}",
        "PUT /ajax-api/2.0/mlflow-artifacts/artifacts/{where:path}",
        *(f"POST runs/{what}" for what in ("log-metric", "log-parameter", "log-batch", "log-inputs", "set-tag")),
        "POST runs/outputs",
        "POST runs/log-model",
    }
)
"""What is asked over and over while something trains: of each user and run it is one row of `audit` an hour."""

HOUR_S = 3600.0
MOST_REMEMBERED = 100_000
"""Users and runs of whom the last such row is remembered."""

UNNAMED_PER_S = 1.0
UNNAMED_AT_ONCE = 60
"""Rows of `audit` about those whom nobody knows: without a bound, anybody could fill the table."""

_PENDING = "mlwarehouse.pending"


@dataclass
class Limits:
    """How often somebody may ask.

    Attributes:
        users: Of users, by name.
        strangers: Of those whom nobody knows, by address.
    """

    users: Buckets
    strangers: Buckets


@dataclass
class Admission:
    """What a server knows about who may use it.

    Attributes:
        store: What is served.
        access: Who may do what; None where everybody may do everything.
        limits: How often.
        log_in: The log-in of people; None where there is none.
    """

    store: MlflowStore
    access: Access | None
    limits: Limits
    log_in: LogIn | None = None
    _unnamed: Buckets = field(default_factory=lambda: Buckets(UNNAMED_PER_S, UNNAMED_AT_ONCE))
    _untold: int = 0
    _logged: dict[tuple[str, str], float] = field(default_factory=dict)

    async def who(self, scope: MutableMapping[str, Any]) -> Principal | None:
        """Who sends a request; None for nobody who is known.

        Raises:
            StorageError: That can't be looked up just now.
            PermissionDeniedError: A log-in vouches for them, and doesn't say who they are.
        """
        assert self.access is not None
        token, person = token_in(Headers(scope=scope)), None
        if self.log_in is not None and token is None:
            person = _by_browser(scope.get("session", {}), self.log_in.now())
        elif self.log_in is not None and token is not None and token.count(".") == 2:
            person = await self.log_in.bearer(token)
        if person is None and token is None:
            return None
        state = self.access.glance()
        # A token that isn't known may have been made a moment ago.
        token_id = token_id_of(token or "")
        is_new = state is not None and token_id is not None and token_id not in state.tokens
        if state is None or is_new:
            state = await run_in_threadpool(self.access.state, is_fresh=is_new)
        if person is not None:
            return state.person(person.name, person.groups)
        return state.known_by(token or "", self.access.now())

    def write(
        self, scope: MutableMapping[str, Any], who: Principal, action: str, on: str, refused: str | None = None
    ) -> None:
        """Write a row of `audit`; it is on disk with the next sync.

        Args:
            scope: The request.
            who: Who asks.
            action: What they ask, by method and path.
            on: What they ask it of.
            refused: Why they may not; None where they may.
        """
        detail: dict[str, Any] = {"request_id": REQUEST_ID.get() or None, "token_id": who.token_id, "reason": refused}
        if who == NOBODY:
            if self._unnamed.wait_s(""):
                self._untold += 1
                return
            client = scope.get("client")
            detail |= {"address": client[0] if client else None, "others_untold": self._untold or None}
            self._untold = 0
        said = {name: value for name, value in detail.items() if value is not None}
        row = [who.name, action, on, "allowed" if refused is None else "refused", json.dumps(said, sort_keys=True)]
        self.store.recorder.put("audit", {}, ["actor", "action", "object", "outcome", "detail"], [row])

    def is_told(self, who: Principal, action: str, on: str) -> bool:
        """Whether a row of `audit` says already that somebody logs to a run."""
        if action not in LOGS:
            return False
        now, known = time.monotonic(), (who.name, on)
        if now - self._logged.get(known, -HOUR_S) < HOUR_S:
            return True
        if len(self._logged) >= MOST_REMEMBERED:
            self._logged.clear()
        self._logged[known] = now
        return False


def admit(request: Request, asked: Mapping[str, Any], *, action: str | None = None) -> None:
    """Check that whoever asks may do it, with the values that the handler works with; to be called in its thread.

    Args:
        request: The request; what it needs is declared of its route, or by `require`.
        asked: Its values, by the fields that the needs name.
        action: What it is called in `audit`; None means its method and route.

    Raises:
        PermissionDeniedError: They may not.
        WarehouseError: What it is about can't be, or isn't there.
    """
    needs: Sequence[Need] = request.scope.pop(_PENDING, ())
    who = acting()
    if who is None or not needs:
        return
    admission = cast(Admission, request.app.state.admission)
    action, on = action or _action(request.scope), said_of(needs[0], asked)
    for need in needs:
        for thing in things_of(admission.store, need, asked):
            if not who.may(need.role, thing):
                why = f"`{who.name}` may not do this: it takes the role {need.role} on `{thing}`."
                admission.write(request.scope, who, action, on, why)
                admission.store.recorder.make_durable()
                raise PermissionDeniedError(why)
    if changes(needs) and not admission.is_told(who, action, on):
        admission.write(request.scope, who, action, on)


def require(scope: MutableMapping[str, Any], needs: Sequence[Need]) -> None:
    """Have a request checked by `admit` before it is answered; without that its answer is withheld."""
    scope[_PENDING] = tuple(needs)


def is_pending(scope: Mapping[str, Any]) -> bool:
    """Whether a request is still to be checked."""
    return bool(scope.get(_PENDING))


def changes(needs: Sequence[Need]) -> bool:
    """Whether what needs this may change something."""
    return any(LADDER.index(need.role) > LADDER.index("reader") for need in needs)


def token_in(headers: Headers) -> str | None:
    """The token that a request brings: as a bearer, or as the password of basic authentication; None for neither."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip() or None
    if kind.lower() != "basic":
        return None
    try:
        _, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password


def _by_browser(session: Mapping[str, Any], now: float) -> Person | None:
    """Who is logged in with a browser; the session is what this server wrote into a signed cookie."""
    if not session.get("name") or now >= session["until"]:
        return None
    return Person(session["name"], tuple(session["groups"]))


def _action(scope: Mapping[str, Any]) -> str:
    return f"{scope['method']} {scope.get('mlwarehouse.route', scope['path'])}"
