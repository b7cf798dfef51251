"""Sending many small things in calls as large as the server takes; what it refuses is found and told."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from mlwarehouse.imports.base import Oddity
from mlwarehouse.imports.rest_client import FOR_NOW, Refused

MAX_BYTES = 500_000
"""Of a call's body; servers of MLflow's take a million characters."""

T = TypeVar("T")


class Sent:
    """What was sent so far, and what was refused; threads may share it.

    Attributes:
        added: As in `ExportReport.added`.
        oddities: As in `ExportReport.oddities`.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.added: Counter[str] = Counter()
        self.oddities: list[Oddity] = []
        self._lock = threading.Lock()

    def count(self, name: str, n: int = 1) -> None:
        """Count what was sent."""
        with self._lock:
            self.added[name] += n

    def tell(self, kind: str, place: str, detail: str) -> None:
        """Tell what couldn't be sent as it is."""
        with self._lock:
            self.oddities.append(Oddity(kind, place, detail))

    def each(
        self,
        name: str,
        items: Sequence[T],
        most: int,
        send: Callable[[Sequence[T]], object],
        place: Callable[[T], str],
    ) -> None:
        """Send items, as many in a call as it may have; where the server refuses some, the others are sent.

        Args:
            name: What they are, as in `ExportReport.added`.
            items: The items.
            most: How many a call may have.
            send: Sends some.
            place: Says where an item is, for what is told.

        Raises:
            Refused: The server fails, or doesn't let us.
            StorageError: It doesn't answer.
        """
        for some in _calls(items, most):
            self._part(name, some, send, place)

    def _part(
        self, name: str, some: Sequence[T], send: Callable[[Sequence[T]], object], place: Callable[[T], str]
    ) -> None:
        try:
            send(some)
        except Refused as error:
            if error.status in FOR_NOW or error.status in (401, 403):
                raise
            if len(some) > 1:
                middle = len(some) // 2
                self._part(name, some[:middle], send, place)
                self._part(name, some[middle:], send, place)
            else:
                self.tell(f"{name.removesuffix('s')} refused", place(some[0]), str(error))
        else:
            self.count(name, len(some))


def _calls(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    some: list[T] = []
    n_bytes = 0
    for item in items:
        size = len(json.dumps(item, default=str))
        if some and (len(some) == most or n_bytes + size > MAX_BYTES):
            yield some
            some, n_bytes = [], 0
        some.append(item)
        n_bytes += size
    if some:
        yield some
