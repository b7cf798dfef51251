"""Logging in and out with a browser."""

from __future__ import annotations

from typing import cast
from urllib.parse import quote, urlencode

from authlib.integrations.base_client import OAuthError
from joserfc.errors import JoseError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from mlwarehouse.access import Principal
from mlwarehouse.access.state import GROUP
from mlwarehouse.errors import NotFoundError, PermissionDeniedError
from mlwarehouse.server.admission import NOBODY, Admission
from mlwarehouse.server.answers import LOGGER, guarded
from mlwarehouse.server.oidc import HTTP_ERROR, SESSION_S, LogIn

CALLBACK = "/login/callback"


@guarded
async def _log_in(request: Request) -> Response:
    log_in = _needed(request)
    await log_in.provider()
    # What is left of log-ins that nobody ended would make the cookie too large.
    request.session.clear()
    request.session["next"] = _own_path(request.query_params.get("next", "/"))
    redirect = f"{log_in.settings.public_url.rstrip('/')}{CALLBACK}"
    return cast(Response, await log_in.client.authorize_redirect(request, redirect))


@guarded
async def _come_back(request: Request) -> Response:
    log_in, admission = _needed(request), cast(Admission, request.app.state.admission)
    assert admission.access is not None
    after = _own_path(str(request.session.get("next", "/")))
    try:
        await log_in.provider()
        token = await log_in.client.authorize_access_token(request, leeway=60)
        person = log_in.person(token.get("userinfo") or {})
        state = await run_in_threadpool(admission.access.state)
        # A cookie has room for few: groups that nothing is granted to don't count.
        groups = [group for group in person.groups if GROUP + group in state.rights]
        found = state.person(person.name, groups)
        if not found.has_any:
            raise PermissionDeniedError(f"`{person.name}` may not read anything here; an admin can grant it.")
    except (OAuthError, JoseError, HTTP_ERROR, TypeError, ValueError, RuntimeError, AttributeError) as error:
        # What an answer of the provider lacks, Authlib finds in one of these ways.
        LOGGER.info("a log-in failed: %s: %s", type(error).__name__, error)
        request.session.clear()
        why = "The log-in failed; begin again at /login."
        await run_in_threadpool(_written, admission, request, NOBODY, why)
        raise PermissionDeniedError(why) from None
    except PermissionDeniedError as error:
        request.session.clear()
        await run_in_threadpool(_written, admission, request, NOBODY, str(error))
        raise
    request.session.clear()
    request.session.update({"name": person.name, "groups": groups, "until": int(log_in.now()) + SESSION_S})
    await run_in_threadpool(_written, admission, request, found, None)
    return RedirectResponse(after, 303)


@guarded
async def _log_out(request: Request) -> Response:
    log_in = _needed(request)
    if request.headers.get("sec-fetch-site") == "cross-site":
        raise PermissionDeniedError("A page of another site may not log anybody out.")
    request.session.clear()
    metadata = await log_in.provider()
    there = metadata.get("end_session_endpoint")
    if not there:
        return RedirectResponse("/health", 303)
    asked = {"client_id": log_in.settings.client_id, "post_logout_redirect_uri": f"{log_in.settings.public_url}/"}
    return RedirectResponse(f"{there}?{urlencode(asked)}", 303)


def invitation(path: str) -> Response:
    """Sends a browser to the log-in, and then back."""
    return RedirectResponse(f"/login?next={quote(path, safe='')}", 303)


def _needed(request: Request) -> LogIn:
    admission = cast(Admission, request.app.state.admission)
    if admission.log_in is None:
        raise NotFoundError("This server has no log-in: programs and people bring tokens.")
    return admission.log_in


def _own_path(given: str) -> str:
    """A path of this server; what could lead to another becomes the first page."""
    is_own = given.startswith("/") and not given.startswith(("//", "/\\")) and given.isprintable()
    return given if is_own and len(given) < 2000 else "/"


def _written(admission: Admission, request: Request, who: Principal, refused: str | None) -> None:
    admission.write(request.scope, who, "log in", "*", refused)
    admission.store.recorder.make_durable()


ROUTES: tuple[Route, ...] = (
    Route("/login", _log_in, methods=["GET"]),
    Route(CALLBACK, _come_back, methods=["GET"]),
    Route("/logout", _log_out, methods=["GET"]),
)
"""The addresses of the log-in."""
