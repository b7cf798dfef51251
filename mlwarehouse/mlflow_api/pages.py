"""Pages: where one goes on, as MLflow's tokens say it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from mlwarehouse.errors import InvalidInputError

T = TypeVar("T")


def read_offset(token: str | None) -> int:
    """How many entries a page leaves out.

    Raises:
        InvalidInputError: It isn't a token.
    """
    if not token:
        return 0
    try:
        offset = json.loads(base64.b64decode(token, validate=True))["offset"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        offset = None
    if not isinstance(offset, int) or isinstance(offset, bool) or not 0 <= offset < 2**62:
        raise InvalidInputError("Invalid page token, could not base64-decode")
    return offset


def next_page(offset: int) -> dict[str, Any]:
    """What is said of the page that goes on at an offset."""
    return {"next_page_token": base64.b64encode(json.dumps({"offset": offset}).encode()).decode()}


def cut_page(entries: Sequence[T], offset: int, size: int) -> tuple[Sequence[T], dict[str, Any]]:
    """A page of all entries, with what is said of the next one."""
    is_last = offset + size >= len(entries)
    return entries[offset : offset + size], {} if is_last else next_page(offset + size)
