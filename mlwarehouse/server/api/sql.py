"""Questions in SQL over HTTP: locked, within limits, answered as the rows come, and ended when nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mlwarehouse.engines.running import Cancel
from mlwarehouse.errors import InvalidInputError, WarehouseError
from mlwarehouse.server.answers import HEADERS
from mlwarehouse.server.api.bodies import Body, chosen, read_body
from mlwarehouse.server.api.problems import guarded, plain_problem
from mlwarehouse.server.api.rows import FORMS
from mlwarehouse.server.api.state import Api, api_of
from mlwarehouse.server.observing import BrokenAnswerError, note

HELD_BYTES = 1 << 20
"""What is held back of an answer before its head is sent: a failure up to there has a status of its own."""


class SqlRequest(Body):
    """One question."""

    sql: str = Field(
        description="One SELECT over the tables and views; the locked SQL of the guide says what it may do.",
        examples=["SELECT experiment_name, count(*) AS n FROM runs WHERE status = $status GROUP BY ALL"],
    )
    parameters: dict[str, Any] | list[Any] | None = Field(
        None,
        description="Values for the marks: by name, or in order where marks have no names.",
        examples=[{"status": "FINISHED"}],
    )
    dialect: str = Field("duckdb", description="The SQL dialect it is written in, by sqlglot's name.")
    as_of: str | None = Field(None, description="Only what was recorded by this moment, in ISO form.")
    at: str | None = Field(None, description="A snapshot: its text, or the name of a kept one.")
    format: Literal["json", "arrow", "csv"] | None = Field(
        None, description="The form of the answer; without it the header `Accept` says, and else it is JSON."
    )
    row_limit: int | None = Field(
        None, ge=1, description="The most rows; an answer with more says `is_truncated`. Without it, all come."
    )
    query_id: str | None = Field(
        None,
        pattern="^[A-Za-z0-9._-]{8,64}$",
        description="An id to cancel the question by; without it one is made, and told in the header `X-Query-Id`.",
    )


@guarded
async def _ask(request: Request) -> Response:
    api, asked = api_of(request), await read_body(request, SqlRequest)
    form = asked.format or _form(request)
    if form is None:
        kinds = ", ".join(media_type for media_type, _ in FORMS.values())
        return plain_problem(406, f"An answer comes as {kinds}; ask for one of these by `Accept`, or by `format`.")
    with contextlib.ExitStack() as held:
        query_id, cancel = held.enter_context(api.question(asked.query_id))
        note(request.scope, query_id=query_id)
        held.callback(asyncio.create_task(_when_gone(request, cancel.cancel)).cancel)
        chunks = _chunks(api, asked, form, cancel)
        held.callback(chunks.close)
        # Whatever happens from here on, the worker ends first: who reads from it then doesn't wait.
        held.callback(cancel.cancel)
        begin, is_whole = await api.in_thread(_beginning, chunks)
        headers = {**HEADERS, "X-Query-Id": query_id}
        if is_whole:
            return Response(begin, headers=headers, media_type=FORMS[form][0])
        rest = _rest(api, begin, chunks, held.pop_all())
        return StreamingResponse(rest, headers=headers, media_type=FORMS[form][0])


@guarded
async def _cancel(request: Request) -> Response:
    api_of(request).cancel(request.path_params["query_id"])
    return Response(status_code=204, headers=HEADERS)


def _form(request: Request) -> str | None:
    wanted = chosen(request, tuple(media_type for media_type, _ in FORMS.values()))
    return next((name for name, (media_type, _) in FORMS.items() if media_type == wanted), None)


def _chunks(api: Api, asked: SqlRequest, form: str, cancel: Cancel) -> Generator[bytes]:
    _, write = FORMS[form]
    with api.locked().stream(
        asked.sql,
        parameters=asked.parameters,
        dialect=asked.dialect,
        as_of=asked.as_of,
        at=asked.at,
        row_limit=asked.row_limit,
        cancel=cancel,
    ) as answer:
        try:
            yield from write(answer)
        except pa.ArrowException as error:
            raise InvalidInputError(f"The answer can't be written as {form}: {error}") from error


def _beginning(chunks: Iterator[bytes]) -> tuple[bytes, bool]:
    """The beginning of an answer, and whether it is the whole."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) >= HELD_BYTES:
            return bytes(held), False
    return bytes(held), True


async def _rest(api: Api, begin: bytes, chunks: Iterator[bytes], held: contextlib.ExitStack) -> AsyncIterator[bytes]:
    with held:
        try:
            yield begin
            while (chunk := await api.in_thread(next, chunks, None)) is not None:
                yield chunk
        except WarehouseError as error:
            raise BrokenAnswerError(str(error)) from error


async def _when_gone(request: Request, tell: Callable[[], None]) -> None:
    """Tell when the client goes away before it has its answer."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    tell()


ROUTES: tuple[Route, ...] = (
    Route("/api/v1/sql", _ask, methods=["POST"]),
    Route("/api/v1/sql/{query_id}", _cancel, methods=["DELETE"]),
)
"""The addresses of questions in SQL."""
