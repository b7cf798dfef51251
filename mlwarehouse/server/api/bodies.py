"""Reading requests of our own API: bodies of JSON by their models, and the forms that an answer may have."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from mlwarehouse.errors import InvalidInputError, did_you_mean

MOST_BYTES = 32 << 20
"""The longest body."""

JSON, ARROW, CSV, EVENTS = (
    "application/json",
    "application/vnd.apache.arrow.stream",
    "text/csv",
    "text/event-stream",
)
"""Media types."""


class Body(BaseModel):
    """What all bodies have in common: fields that aren't known are refused, and nothing is taken for another type."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


B = TypeVar("B", bound=Body)


async def read_bytes(request: Request) -> bytes:
    """The body of a request.

    Raises:
        InvalidInputError: It is too long.
    """
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MOST_BYTES:
            raise InvalidInputError(f"The body has more than {MOST_BYTES >> 20} MiB; send less at once.")
    return bytes(content)


def media_type(request: Request) -> str:
    """The media type of a request's body, without parameters; empty where it says none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, kind: type[B]) -> B:
    """The body of a request, by its model.

    Raises:
        InvalidInputError: It isn't JSON, or not of that form; it says where.
    """
    if media_type(request) != JSON:
        raise InvalidInputError(f"The body is JSON; send it with `Content-Type: {JSON}`.")
    return parsed(await read_bytes(request), kind)


def parsed(content: bytes, kind: type[B]) -> B:
    """JSON by its model.

    Raises:
        InvalidInputError: It isn't JSON, or not of that form; it says where.
    """
    try:
        return kind.model_validate_json(content)
    except (ValidationError, RecursionError) as error:
        raise InvalidInputError(_said(error, kind)) from None


def _said(error: Exception, kind: type[Body]) -> str:
    if not isinstance(error, ValidationError):
        return "The body is nested too deeply."
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"The body has no field `{place}`.{did_you_mean(place, kind.model_fields)}"
    if first["type"] == "missing":
        return f"The body lacks the field `{place}`."
    return f"The body's field `{place}`: {first['msg']}." if place else f"The body can't be read: {first['msg']}."


def chosen(request: Request, offered: tuple[str, ...]) -> str | None:
    """The media type of those offered that a request asks for by `Accept`; the first one where it doesn't mind.

    Returns:
        None where it takes none of them.
    """
    wanted = []
    for place, entry in enumerate(request.headers.get("accept", "*/*").split(",")):
        name, *options = (part.strip().lower() for part in entry.split(";"))
        weight = next((_weight(o.partition("=")[2]) for o in options if o.startswith("q=")), 1.0)
        if weight > 0:
            wanted.append((-weight, place, name))
    for _, _, name in sorted(wanted):
        for offer in offered:
            if name in (offer, "*/*", f"{offer.partition('/')[0]}/*"):
                return offer
    return None


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
