"""A question on its way: how it is watched, and how it is ended before its time.

Python handles Ctrl-C in the main thread and only between its own steps, and a call into an engine is one step. So the
main thread waits while a helper asks, and what it hears meanwhile (Ctrl-C, a deadline, a cancel) it passes on.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from mlwarehouse.errors import InvalidInputError, QueryCancelledError

T = TypeVar("T")

TICK_S = 0.1
"""How often progress is told, and how often an engine that hasn't heard is told again to stop."""


class Cancel:
    """Ends questions from another thread: give it to `sql` as ``cancel=`` and call it there."""

    def __init__(self) -> None:
        """Nothing is cancelled yet."""
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._told: list[Callable[[], None]] = []

    @property
    def is_cancelled(self) -> bool:
        """Whether it has been called."""
        return self._is_cancelled

    def cancel(self) -> None:
        """End the questions that have it, and let none that comes later begin."""
        with self._lock:
            self._is_cancelled = True
            for tell in self._told:
                tell()

    @contextlib.contextmanager
    def tells(self, tell: Callable[[], None]) -> Iterator[None]:
        """Call a function, which must be quick, when it is cancelled, at once where it was; while the block lasts."""
        with self._lock:
            self._told.append(tell)
            if self._is_cancelled:
                tell()
        try:
            yield
        finally:
            with self._lock:
                self._told.remove(tell)


@dataclass(frozen=True)
class Watch:
    """What the asker wants to hear, and how long they will wait.

    Attributes:
        progress: Called in the asker's thread every 0.1 s with the share that is known to be done, from 0 to 1.
        timeout_s: The longest that the question may take, in seconds.
        cancel: Ends it from another thread.
    """

    progress: Callable[[float], None] | None = None
    timeout_s: float | None = None
    cancel: Cancel | None = None

    def __post_init__(self) -> None:
        """Refuse what can't be meant.

        Raises:
            InvalidInputError: A limit that isn't a positive number, or a `cancel` or `progress` of another kind.
        """
        limit = self.timeout_s
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0):
            raise InvalidInputError(f"`timeout_s` is {limit!r}; it must be a number of seconds above 0.")
        if self.cancel is not None and not isinstance(self.cancel, Cancel):
            raise InvalidInputError(f"`cancel` must be a `Cancel`; got {type(self.cancel).__name__}.")
        if self.progress is not None and not callable(self.progress):
            raise InvalidInputError(f"`progress` is {self.progress!r}; it must be True, False or a function.")

    @property
    def is_idle(self) -> bool:
        """Whether nobody but Ctrl-C could end the question."""
        return self.progress is None and self.timeout_s is None and self.cancel is None


class Stoppable(Protocol):
    """Whatever computes an answer and can be told to stop."""

    def interrupt(self) -> None:
        """Stop as soon as possible; nothing happens where nothing runs."""
        ...

    def query_progress(self) -> float:
        """Per cent done; negative where that isn't known."""
        ...


S = TypeVar("S", bound=Stoppable)


@dataclass
class Running:
    """One question: what answers it at the moment, which only then may be told to stop."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _engine: Stoppable | None = None
    _is_ended: bool = False
    _share: float = 0.0

    @contextlib.contextmanager
    def on(self, engine: S) -> Iterator[S]:
        """Mark `engine` as the one that works for this question, while the block lasts.

        Raises:
            QueryCancelledError: The question was ended before it came to this.
        """
        with self._lock:
            if self._is_ended:
                raise QueryCancelledError("The question was ended before it began.")
            self._engine = engine
        try:
            yield engine
        finally:
            with self._lock:
                self._engine = None

    def end(self) -> bool:
        """Tell whoever works for this question to stop, and let nobody begin; whether anybody was at work."""
        with self._lock:
            self._is_ended = True
            if self._engine is not None:
                self._engine.interrupt()
            return self._engine is not None

    def share(self) -> float:
        """The share that is known to be done, from 0 to 1.

        DuckDB doesn't always know: where its own threads have all the work, nobody counts (seen with 1.5.6).
        """
        with self._lock:
            done = -1.0 if self._engine is None else self._engine.query_progress()
            if done >= 0:
                self._share = min(done / 100, 1.0)
            return self._share


def answered(work: Callable[[Running], T], watch: Watch | None = None) -> T:
    """Do the work of a question so that it can be ended.

    Args:
        work: Asks the engine, within ``running.on(engine)``. It frees what it has taken itself.
        watch: What to tell, and what else ends it.

    Returns:
        What `work` returns.

    Raises:
        QueryCancelledError: The time was over, or `Watch.cancel` was called.
        KeyboardInterrupt: Ctrl-C, in the main thread.
    """
    watch = watch or Watch()
    running = Running()
    if watch.is_idle and threading.current_thread() is not threading.main_thread():
        return work(running)  # nobody could end it
    outcome: list[T] = []
    failure: list[BaseException] = []
    wake, is_done = threading.Event(), threading.Event()

    def helper() -> None:
        try:
            outcome.append(work(running))
        except BaseException as error:
            failure.append(error)
        finally:
            is_done.set()
            wake.set()

    thread = threading.Thread(target=helper, name="mlwarehouse-question", daemon=True)
    try:
        with watch.cancel.tells(wake.set) if watch.cancel is not None else contextlib.nullcontext():
            thread.start()
            _wait(running, watch, wake, is_done)
    except BaseException:
        _stop(running, is_done)
        raise
    if failure:
        raise failure[0]
    return outcome[0]


def _wait(running: Running, watch: Watch, wake: threading.Event, is_done: threading.Event) -> None:
    deadline = None if watch.timeout_s is None else time.monotonic() + watch.timeout_s
    while not is_done.is_set():
        left = None if deadline is None else deadline - time.monotonic()
        tick = TICK_S if watch.progress is not None else None
        waits = [t for t in (left, tick) if t is not None]
        wake.wait(max(0.0, min(waits)) if waits else None)
        if is_done.is_set():
            return
        if watch.cancel is not None and watch.cancel.is_cancelled:
            raise QueryCancelledError("The question was cancelled.")
        if deadline is not None and time.monotonic() >= deadline:
            raise QueryCancelledError(
                f"The question took longer than {watch.timeout_s:g} s; ask for less, or raise `timeout_s`."
            )
        if watch.progress is not None:
            watch.progress(running.share())


def _stop(running: Running, is_done: threading.Event) -> None:
    """Tell the engine until it has heard: an interrupt that comes between two of its steps is lost.

    A question that still waits for its turn isn't waited for: it never begins.
    """
    while running.end() and not is_done.wait(TICK_S / 2):
        pass
