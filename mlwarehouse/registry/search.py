"""Searches: what is chosen of the registered models or versions, in which order, and from where a page goes on."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mlwarehouse.errors import InvalidInputError

T = TypeVar("T")

MAX_RESULTS = 100_000
"""The most entries that a page can have."""


@dataclass(frozen=True)
class Search:
    """What is searched for, as SQL over the views `registered_models`, called ``m``, or `model_versions`, called ``v``.

    Attributes:
        where: The condition.
        joins: What it needs beside the view.
        parameters: Values of its ``$`` marks.
        on_names: The same condition over ``model_name``, where it looks at nothing else; then no view is asked.
        order: Terms of an `ORDER BY`; without any it is by name, and of each model the newest version first.
        needs: Conditions over the rows of `registry_events`; what is found has, for each of them, one such row.
    """

    where: str = "true"
    joins: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    on_names: str | None = "true"
    order: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


class Page(list[T]):
    """Some of what was found, as a list.

    Attributes:
        token: Pass it as ``page_token=`` for the next page; None behind the last.
    """

    def __init__(self, entries: Iterable[T] = (), token: str | None = None) -> None:
        """Hold entries."""
        super().__init__(entries)
        self.token = token


def page_size(max_results: int | None) -> int | None:
    """Check how many entries a page may have; None for all.

    Raises:
        InvalidInputError: It can't have so many.
    """
    if max_results is None:
        return None
    if not isinstance(max_results, int) or isinstance(max_results, bool) or not 0 < max_results <= MAX_RESULTS:
        raise InvalidInputError(f"`max_results` is a number from 1 to {MAX_RESULTS}; got {max_results!r}.")
    return max_results


def write_token(place: Mapping[str, Any]) -> str:
    """The text that a place in the answer is handed out as."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def read_token(token: str | None, form: Mapping[str, type]) -> dict[str, Any] | None:
    """The place that a token names.

    Args:
        token: What `write_token` wrote; None or empty for the beginning.
        form: What a place of this search has, and of which type.

    Raises:
        InvalidInputError: It isn't a token, or one of another search.
    """
    if not token:
        return None
    try:
        place = json.loads(base64.b64decode(token, altchars="-_", validate=True))
        is_ours = {k: type(v) for k, v in place.items()} == dict(form)
    except (ValueError, AttributeError, TypeError):
        is_ours = False
    if not is_ours:
        raise InvalidInputError(
            f"`{str(token)[:40]}` isn't a page token of this search; pass `token` of the page before, asked with the "
            "same filter and order."
        )
    return dict(place)
