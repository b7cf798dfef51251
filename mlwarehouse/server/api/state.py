"""What the routes of our own API share: locked SQL with its running questions, loaded models, and who follows."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.requests import Request

from mlwarehouse.access import acting
from mlwarehouse.engines.running import Cancel
from mlwarehouse.entities import Experiment
from mlwarehouse.errors import ConflictError, NotFoundError, SqlLimitError
from mlwarehouse.server.api.models import LoadedModels
from mlwarehouse.server.measures import Measures

if TYPE_CHECKING:
    from mlwarehouse.parts.locked_sql import LockedSql
    from mlwarehouse.warehouse import Warehouse

T = TypeVar("T")

LOOK_EVERY_S = 1.0
"""How often those who follow the changes learn of commits."""

MOST_FOLLOWERS = 500
"""Clients that may follow the changes at the same time."""

THREADS = 16
"""Threads of our own API, so that it never takes those that answer MLflow's clients."""


@dataclass(frozen=True)
class Limits:
    """What a question in SQL may take.

    Attributes:
        time_s: Seconds.
        answer_bytes: Bytes of its answer.
        memory_bytes: Bytes of memory.
    """

    time_s: float = 30.0
    answer_bytes: int = 256 << 20
    memory_bytes: int = 1 << 30


class Api:
    """One server's state of its own API.

    Attributes:
        warehouse: The warehouse.
        measures: Told of questions and followers.
        models: Models that are held loaded.
        is_ending: Whether the server is told to end; answers that have no end then do.
    """

    def __init__(self, warehouse: Warehouse, measures: Measures, limits: Limits, *, allow_code: bool) -> None:
        """Prepare for requests; nothing is started before it is asked for.

        Args:
            warehouse: The warehouse.
            measures: Told of questions and followers.
            limits: What a question in SQL may take.
            allow_code: Whether models may bring code of their own.
        """
        self.warehouse = warehouse
        self.measures = measures
        self.models = LoadedModels(warehouse, allow_code=allow_code)
        self.is_ending = False
        self._limits = limits
        self._locked: LockedSql | None = None
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Cancel, str | None]] = {}
        self._threads = CapacityLimiter(THREADS)
        self._looking = asyncio.Lock()
        self._looked_at, self._versions = 0.0, dict[str, int]()
        self._n_followers = 0

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do what blocks in a thread of this API's own."""
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._threads)

    def readable(self) -> list[Experiment] | None:
        """The experiments that whoever asks may read; None for all, and with them whatever belongs to none."""
        principal = acting()
        if principal is None or principal.may("reader"):
            return None
        return [e for e in self.warehouse.search_experiments() if principal.may_read_experiment(e.experiment_id)]

    def locked(self) -> LockedSql:
        """Locked SQL over what whoever asks may read.

        Raises:
            SandboxUnavailableError: This machine can't shut questions in.
        """
        readable = self.readable()
        whole = self._whole()
        return whole if readable is None else whole.narrowed([e.experiment_id for e in readable])

    def _whole(self) -> LockedSql:
        with self._lock:
            if self._locked is None:
                # No limit of rows: a part that isn't told as one would be taken for the whole.
                self._locked = self.warehouse.locked(
                    time_limit_s=self._limits.time_s,
                    memory_bytes=self._limits.memory_bytes,
                    result_bytes=self._limits.answer_bytes,
                    row_limit=1 << 62,
                )
            return self._locked

    @contextlib.contextmanager
    def question(self, query_id: str | None) -> Iterator[tuple[str, Cancel]]:
        """A question that can be cancelled while the block lasts.

        Args:
            query_id: Its id, as who asks wants it; None makes one.

        Raises:
            ConflictError: Another question has that id.
        """
        principal = acting()
        chosen, cancel = query_id or secrets.token_hex(16), Cancel()
        with self._lock:
            if chosen in self._running:
                raise ConflictError(f"A question with the id `{chosen}` is being answered; choose another id.")
            self._running[chosen] = cancel, principal.name if principal else None
        try:
            with self.measures.questions.track_inprogress():
                yield chosen, cancel
        finally:
            with self._lock:
                del self._running[chosen]

    def cancel(self, query_id: str) -> None:
        """End a question of whoever asks; an admin ends any.

        Raises:
            NotFoundError: None of that id is being answered, or it is somebody else's.
        """
        principal = acting()
        with self._lock:
            cancel, owner = self._running.get(query_id, (None, None))
        is_theirs = principal is None or principal.name == owner or principal.may("admin")
        if cancel is None or not is_theirs:
            raise NotFoundError(f"No question with the id `{query_id}` is being answered; it may have ended.")
        cancel.cancel()

    async def versions(self) -> Mapping[str, int]:
        """The newest committed versions of the tables, looked at once a second however many ask."""
        async with self._looking:
            if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
                self._versions = await self.in_thread(self.warehouse.versions)
                self._looked_at = time.monotonic()
            return self._versions

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Be one of those who follow the changes.

        Raises:
            SqlLimitError: There are too many.
        """
        if self._n_followers >= MOST_FOLLOWERS:
            raise SqlLimitError(f"{MOST_FOLLOWERS} clients follow the changes already; ask again later.")
        self._n_followers += 1
        try:
            with self.measures.followers.track_inprogress():
                yield
        finally:
            self._n_followers -= 1

    def end(self) -> None:
        """Let answers that have no end come to one: the server is about to stop. Safe in a signal's handler."""
        self.is_ending = True

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            if self._locked is not None:
                self._locked.close()
                self._locked = None


def api_of(request: Request) -> Api:
    """The state of the application that a request has come to."""
    return cast(Api, request.app.state.api)
