"""Runs that calls are about, held in memory: a call that logs asks no table, and one that reads a run seldom does.

What this process writes it also takes into the state it holds, so that a read after a write sees it. What others write
is seen when the state is read anew: before each call that reads, or that sets a param, while another process of this
machine has something in the spool; and otherwise when the state is older than `FRESH_S`, which is also how long what is
committed elsewhere may take to be seen.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mlwarehouse.errors import InvalidInputError, NotFoundError
from mlwarehouse.mlflow_api.recorder import Recorder
from mlwarehouse.mlflow_api.states import RunState

FRESH_S = 5.0
"""How old a state that is read may be."""

MOST_RUNS = 4096
"""Runs that are held; those that weren't asked for longest go first."""

STRIPES = 256
"""Locks: calls about one run wait for each other, and those about two seldom do."""


@dataclass
class Live:
    """A run that is held.

    Attributes:
        state: What it is.
        loaded_at: When it was read, by the monotonic clock.
        series: The writer's numbers for its metrics, in this attempt.
        is_joined: Whether this process has written that it logs to the run.
        is_stale: Whether it has to be read anew before anything else.
        uses: How many calls are about it just now, which keep it held: a writer's map in use must not be let go of.
    """

    state: RunState
    loaded_at: float
    series: dict[Any, int]
    is_joined: bool = False
    is_stale: bool = False
    uses: int = 0


class LiveRuns:
    """The runs that are held. Threads share it."""

    def __init__(self, recorder: Recorder, load: Callable[[str], RunState | None]) -> None:
        """Hold nothing yet.

        Args:
            recorder: Who writes.
            load: Reads a run from the warehouse.
        """
        self._recorder = recorder
        self._load = load
        self._held: OrderedDict[str, Live] = OrderedDict()
        self._lock = threading.Lock()
        self._stripes = [threading.RLock() for _ in range(STRIPES)]

    @contextmanager
    def writing(self, run_id: str, *, also_deleted: bool = False, is_exact: bool = False) -> Iterator[Live]:
        """A run to write to; other calls about it wait meanwhile.

        Args:
            run_id: The run.
            also_deleted: Whether it may be deleted.
            is_exact: Whether what others on this machine have written must be known, because it may forbid this.

        Raises:
            NotFoundError: There is no such run.
            InvalidInputError: It is deleted.
        """
        must_read = self._is_old if is_exact else _is_stale
        with self._used(run_id, must_read) as live:
            state = live.state
            if not also_deleted and state.lifecycle_stage != "active":
                raise InvalidInputError(
                    f"The run {run_id} must be in the 'active' state. Current state is {state.lifecycle_stage}."
                )
            yield live

    @contextmanager
    def reading(self, run_id: str) -> Iterator[RunState]:
        """A run as it is now; other calls about it wait meanwhile.

        Raises:
            NotFoundError: There is no such run.
        """
        with self._used(run_id, self._is_old) as live:
            yield live.state

    def add(self, state: RunState) -> Live:
        """Hold a run that this process has made."""
        live = Live(state, time.monotonic(), self._recorder.writer.series_map(), is_joined=True, uses=1)
        self._hold(live)
        live.uses -= 1
        return live

    def join(self, live: Live) -> None:
        """Write that this process logs to a run, before it does so first."""
        if not live.is_joined:
            self._recorder.put_event(
                "run_events",
                {
                    "run_id": live.state.run_id,
                    "attempt": live.state.attempt,
                    "actor": self._recorder.actor,
                    "kind": "joined",
                },
            )
            live.is_joined = True

    def begin_attempt(self, live: Live) -> None:
        """Have what is logged from here on belong to the run's next attempt, whose start this process writes."""
        self._recorder.writer.forget_map(live.series)
        live.series = self._recorder.writer.series_map()
        live.state.attempt += 1
        live.is_joined = True

    def read_all_anew(self) -> None:
        """Trust nothing that is held, after a change of many runs at once."""
        with self._lock:
            for live in self._held.values():
                live.is_stale = True

    def _is_old(self, live: Live) -> bool:
        return live.is_stale or time.monotonic() - live.loaded_at > FRESH_S or self._recorder.has_others()

    @contextmanager
    def _used(self, run_id: str, must_read: Callable[[Live], bool]) -> Iterator[Live]:
        with self._stripes[hash(run_id) % STRIPES]:
            with self._lock:
                live = self._held.get(run_id)
                if live is not None:
                    live.uses += 1
                    self._held.move_to_end(run_id)
            try:
                if live is None:
                    live = self._begin(run_id)
                elif must_read(live):
                    self._read_anew(live)
                yield live
            finally:
                if live is not None:
                    live.uses -= 1

    def _begin(self, run_id: str) -> Live:
        live = Live(self._state(run_id), time.monotonic(), self._recorder.writer.series_map(), uses=1)
        self._hold(live)
        return live

    def _read_anew(self, live: Live) -> None:
        live.is_stale = False
        state = self._state(live.state.run_id)
        if live.state.attempt != state.attempt:
            self._recorder.writer.forget_map(live.series)
            live.series, live.is_joined = self._recorder.writer.series_map(), False
        live.state, live.loaded_at = state, time.monotonic()

    def _state(self, run_id: str) -> RunState:
        state = self._load(run_id)
        if state is None:
            raise NotFoundError(f"Run with id={run_id} not found")
        return state

    def _hold(self, live: Live) -> None:
        with self._lock:
            self._held[live.state.run_id] = live
            idle = (run_id for run_id, held in self._held.items() if not held.uses)
            gone = [run_id for run_id, _ in zip(idle, range(len(self._held) - MOST_RUNS), strict=False)]
            old = [self._held.pop(run_id) for run_id in gone]
        for each in old:
            self._recorder.writer.forget_map(each.series)


def _is_stale(live: Live) -> bool:
    return live.is_stale
