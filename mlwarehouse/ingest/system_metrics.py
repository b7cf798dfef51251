"""System metrics: one thread of a process that looks at the machine now and then, for the runs that it has started.

What it sees waits in memory for up to a minute and is written at once, so that a run which logs nothing else has its
committer woken once a minute, and not with each look.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

from mlwarehouse.errors import RunFinishedError
from mlwarehouse.ingest.gpus import Gpus
from mlwarehouse.ingest.joining import local_rank, rank
from mlwarehouse.ingest.machine import Machine
from mlwarehouse.ingest.run import ActiveRun

PREFIX = "system/"
"""What the names begin with, as MLflow's do."""

KEEP_S = 60.0
"""How long what was seen waits to be written."""


class Look(NamedTuple):
    """One look at the machine: when, in milliseconds since the epoch, and what was seen."""

    at_ms: int
    metrics: Mapping[str, float]


class Sampler:
    """Looks at the machine for the runs of one process."""

    def __init__(self, interval_s: float) -> None:
        """Prepare; the first run starts the thread.

        Args:
            interval_s: Seconds between two looks; 0 means none.
        """
        self._interval_s = interval_s
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._runs: dict[ActiveRun, tuple[Mapping[str, str] | None, list[Look]]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, run: ActiveRun) -> None:
        """Look at the machine for a run, from now until it ends here.

        Of the processes that join a run, the first of each other machine looks; its points have the host as context.
        """
        if self._interval_s <= 0 or (run.is_joined and (local_rank() != 0 or not rank())):
            return
        if self._pid != os.getpid():
            # A fork has neither its parent's thread nor its parent's runs to look for.
            self._begin()
        with self._lock:
            self._runs[run] = ({"host": platform.node()} if run.is_joined else None, [])
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="mlwarehouse-system-metrics", daemon=True)
                self._thread.start()
        run.before_end(lambda: self._finish(run))

    def stop(self) -> None:
        """End the thread; a later run starts another."""
        if self._thread is not None and self._pid == os.getpid():
            self._stop.set()
            self._thread.join()
            self._begin()

    def _watch(self) -> None:
        machine, gpus = Machine(), Gpus()
        written_at = time.monotonic()
        while not self._stop.wait(self._interval_s):
            if not self._runs:
                continue
            # A machine that can't be looked at now may be later; no reason to stop a training.
            with contextlib.suppress(OSError, ValueError, KeyError):
                seen = machine.metrics() | gpus.metrics()
                look = Look(time.time_ns() // 1_000_000, {PREFIX + name: value for name, value in seen.items()})
                with self._lock:
                    for _, looks in self._runs.values():
                        looks.append(look)
            if time.monotonic() - written_at >= KEEP_S:
                written_at = time.monotonic()
                self._write_all()

    def _write_all(self) -> None:
        with self._lock:
            waiting = [(run, context, looks.copy()) for run, (context, looks) in self._runs.items()]
            for _, looks in self._runs.values():
                looks.clear()
        for run, context, looks in waiting:
            _write(run, context, looks)

    def _finish(self, run: ActiveRun) -> None:
        with self._lock:
            context, looks = self._runs.pop(run, (None, []))
        _write(run, context, looks)


def _write(run: ActiveRun, context: Mapping[str, str] | None, looks: list[Look]) -> None:
    # The run may end between a look and this.
    with contextlib.suppress(RunFinishedError):
        for look in looks:
            # Whole seconds since the run's first start: they grow on when it is resumed.
            step = max((look.at_ms - run.info.start_time) // 1000, 0)
            run.log_metrics(look.metrics, step, look.at_ms, context)
