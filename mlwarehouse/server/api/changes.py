"""The change feed over HTTP: a page as JSON, or server-sent events that go on for as long as somebody listens.

A page of changes is one event, whose id is the page's cursor: a client gets it whole or not at all, and one that comes
again with the last id that it has seen is told what came after. A long page comes in parts, of which only the last has
the id, so whoever has lost one is told the page again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mlwarehouse.cli_output import plain
from mlwarehouse.entities import Snapshot
from mlwarehouse.errors import InvalidInputError, NotFoundError, WarehouseError, did_you_mean
from mlwarehouse.parts.changing import EMPTY_EVERY_S
from mlwarehouse.query import ChangePage
from mlwarehouse.server.answers import HEADERS, answer
from mlwarehouse.server.api.bodies import EVENTS, JSON, chosen
from mlwarehouse.server.api.problems import guarded, plain_problem
from mlwarehouse.server.api.state import LOOK_EVERY_S, Api, api_of
from mlwarehouse.server.observing import BrokenAnswerError

PART = 1000
"""Changes of one event."""

HEARTBEAT_S = 15.0
"""How often something is sent, so that nobody between takes the connection for dead."""

_FIELDS = ("since", "until", "kind", "experiment", "best")


@dataclass(frozen=True)
class _Asked:
    """What a request chooses."""

    kinds: list[str] | None
    experiments: list[str] | None
    best: dict[str, str] | None


@guarded
async def _tell(request: Request) -> Response:
    api, given = api_of(request), request.query_params
    for name in given:
        if name not in _FIELDS:
            raise InvalidInputError(f"The address has `{name}`; a question for changes has {', '.join(_FIELDS)}.")
    asked = _Asked(given.getlist("kind") or None, given.getlist("experiment") or None, _best(given.getlist("best")))
    form = chosen(request, (JSON, EVENTS))
    since = given.get("since")
    if form == JSON:
        page = await api.in_thread(_page, api, asked, since, given.get("until"))
        return answer({"changes": _told(page), "cursor": page.cursor})
    if form is None:
        return plain_problem(406, f"Changes come as {JSON} or {EVENTS}; ask for one of these by `Accept`.")
    if "until" in given:
        raise InvalidInputError("Events go on, so there is no `until`; leave it out, or ask for JSON.")
    with contextlib.ExitStack() as held:
        held.enter_context(api.following())
        # What can't be told is refused before the events begin: a browser then doesn't ask again.
        first = await api.in_thread(_committed, api, asked, request.headers.get("last-event-id") or since)
        return StreamingResponse(_events(api, asked, first, held.pop_all()), headers=HEADERS, media_type=EVENTS)


def _best(given: list[str]) -> dict[str, str] | None:
    pairs = [entry.rpartition(":") for entry in given]
    for key, colon, _ in pairs:
        if not (key and colon):
            raise InvalidInputError("`best` is a metric and what is better of it, as in `best=val/loss:min`.")
    return {key: direction for key, _, direction in pairs} or None


def _page(api: Api, asked: _Asked, since: str | None, until: str | None) -> ChangePage:
    return api.warehouse.changes(since, until, kinds=asked.kinds, experiments=_chosen(api, asked), best=asked.best)


def _committed(api: Api, asked: _Asked, since: Any) -> ChangePage:
    chosen = _chosen(api, asked)
    return api.warehouse.committed_changes(since, kinds=asked.kinds, experiments=chosen, best=asked.best)


def _chosen(api: Api, asked: _Asked) -> list[str] | None:
    """The experiments whose changes are told: those asked for, of those that whoever asks may read at this moment."""
    readable = api.readable()
    if readable is None:
        return asked.experiments
    names = [e.name for e in readable]
    for name in asked.experiments or ():
        if name not in names:
            # In the words for one that isn't there.
            raise NotFoundError(f"There is no experiment `{name}`.{did_you_mean(name, names)}")
    return names if asked.experiments is None else asked.experiments


async def _events(api: Api, asked: _Asked, page: ChangePage, held: contextlib.ExitStack) -> AsyncIterator[bytes]:
    with held:
        told_at = time.monotonic()
        for event in _written(page):
            yield event
        sent_at = time.monotonic()
        cursor = Snapshot.parse(str(page.cursor))
        while not api.is_ending:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                if await api.versions() != cursor.versions:
                    page = await api.in_thread(_committed, api, asked, cursor)
                    cursor = Snapshot.parse(str(page.cursor))
                    # An empty page now and then, so that the cursor that a client keeps stays young.
                    if page or time.monotonic() - told_at > EMPTY_EVERY_S:
                        for event in _written(page):
                            yield event
                        told_at = sent_at = time.monotonic()
            except WarehouseError as error:
                raise BrokenAnswerError(str(error)) from error
            if time.monotonic() - sent_at > HEARTBEAT_S:
                yield b":\n\n"
                sent_at = time.monotonic()


def _written(page: ChangePage) -> list[bytes]:
    """A page as events."""
    events = []
    for at in range(0, max(len(page), 1), PART):
        is_last = at + PART >= len(page)
        part = ChangePage(page.rows.slice(at, PART), None)
        data = json.dumps({"changes": _told(part), "is_last": is_last}, ensure_ascii=False, separators=(",", ":"))
        id_line = f"id: {page.cursor}\n" if is_last else ""
        events.append(f"event: changes\n{id_line}data: {data}\n\n".encode())
    return events


def _told(page: ChangePage) -> list[dict[str, Any]]:
    return [plain(asdict(change)) for change in page]


ROUTES: tuple[Route, ...] = (Route("/api/v1/changes", _tell, methods=["GET"]),)
"""The address of the change feed."""
