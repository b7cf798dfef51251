"""The gate before each route: who asks is known, and may ask this, before anything else happens."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlwarehouse.access import EVERYTHING, Need, Principal, acting_as
from mlwarehouse.errors import WarehouseError
from mlwarehouse.server.admission import NOBODY, Admission, changes, is_pending, require, token_in
from mlwarehouse.server.answers import LOGGER, refuse, refuse_error
from mlwarehouse.server.log_in import invitation

CHALLENGE = 'Bearer realm="mlwarehouse", Basic realm="mlwarehouse", charset="UTF-8"'


class Gate:
    """Stands before a route, with what it needs."""

    def __init__(self, app: ASGIApp, path: str, needs: Mapping[str, tuple[Need, ...]]) -> None:
        """Stand before an application.

        Args:
            app: What the route leads to.
            path: The route's path.
            needs: What each of its methods needs.
        """
        self._app, self._path, self.needs = app, path, needs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, in the name of whoever asks; or refuse it."""
        admission = cast(Admission, scope["app"].state.admission)
        if admission.access is None:
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        needs = self.needs.get(method) or self.needs["*"]
        scope["mlwarehouse.route"] = self._path
        try:
            who = await self._admitted(admission, scope, needs)
        except WarehouseError as error:
            await refuse_error(error)(scope, receive, send)
            return
        if isinstance(who, Response):
            await who(scope, receive, send)
            return
        require(scope, [need for need in needs if need.field])
        with acting_as(who):
            await self._app(scope, receive, _withholding(scope, send))

    async def _admitted(self, admission: Admission, scope: Scope, needs: tuple[Need, ...]) -> Principal | Response:
        """Who asks; or the answer that refuses them."""
        if all(need.role == "public" for need in needs):
            return NOBODY
        who = await admission.who(scope)
        client = scope.get("client")
        limits, name = admission.limits, (client[0] if client else "") if who is None else who.name
        wait = limits.strangers.wait_s(name) if who is None else limits.users.wait_s(name)
        if wait:
            return _too_often(wait)
        action = f"{scope['method']} {self._path if '{rest' not in self._path else scope['path']}"
        if who is None:
            headers = Headers(scope=scope)
            given = token_in(headers) is not None
            if admission.log_in is not None and not given and _is_page(scope["method"], headers):
                return invitation(scope["path"])
            why = (
                "The token isn't known, or doesn't hold any more."
                if given
                else "Say who you are: set MLFLOW_TRACKING_TOKEN to a token of `mlwarehouse tokens create`."
            )
            await run_in_threadpool(_written, admission, scope, NOBODY, action, why)
            answer = refuse("UNAUTHENTICATED", why, 401)
            answer.headers["WWW-Authenticate"] = CHALLENGE
            return answer
        for need in needs:
            is_fine = who.has_any if need.on == "listed" else bool(need.field) or who.may(need.role)
            if not is_fine:
                where = "something" if need.on == "listed" else "everything"
                why = f"`{who.name}` may not do this: it takes the role {need.role} on {where}."
                await run_in_threadpool(_written, admission, scope, who, action, why)
                return refuse("PERMISSION_DENIED", why, 403)
        if changes(needs) and not any(need.field for need in needs):
            await run_in_threadpool(_written, admission, scope, who, action, None)
        return who


def _is_page(method: str, headers: Headers) -> bool:
    """Whether a person opens a page in a browser, who can be sent to log in."""
    return method == "GET" and "text/html" in headers.get("accept", "")


def _written(admission: Admission, scope: Scope, who: Principal, action: str, refused: str | None) -> None:
    admission.write(scope, who, action, EVERYTHING, refused)
    admission.store.recorder.make_durable()


def _too_often(wait: float) -> Response:
    seconds = max(1, math.ceil(wait))
    answer = refuse("REQUEST_LIMIT_EXCEEDED", f"Too many requests at once; ask again in {seconds} s.", 429)
    answer.headers["Retry-After"] = str(seconds)
    return answer


def _withholding(scope: MutableMapping[str, Any], send: Send) -> Send:
    """Sends nothing of an answer that was made without a look at who asks: a mistake in the program."""
    is_withheld = False

    async def sending(message: Message) -> None:
        nonlocal is_withheld
        if message["type"] == "http.response.start" and message["status"] < 400 and is_pending(scope):
            is_withheld = True
            LOGGER.error("%s %s was answered and not checked by `admit`", scope["method"], scope["path"])
            await refuse("INTERNAL_ERROR", "The server failed to answer; its log says why.", 500)(
                cast(Any, scope), cast(Any, None), send
            )
        elif not is_withheld:
            await send(message)

    return sending
