"""The keeper: one thread of a logging process that keeps its spool well, sends heartbeats and sees to the committer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from mlwarehouse.ingest.spool_writer import SpoolWriter

LOGGER = logging.getLogger("mlwarehouse")

SYNC_S = 1.0
"""Seconds between two syncs: what a power cut may take with `durability = interval`."""

STOP_S = 2.0
"""How long a process that ends waits for a disk that hangs."""


class Keeper:
    """Runs from the first run of a process to its end, and ends with it."""

    def __init__(
        self,
        writer: SpoolWriter,
        *,
        does_sync: bool,
        heartbeat_s: float,
        send_heartbeats: Callable[[], None],
        retry_artifacts: Callable[[], None],
        see_to_committer: Callable[[], None],
    ) -> None:
        """Start the thread.

        Args:
            writer: What to look after.
            does_sync: Whether to sync at all.
            heartbeat_s: Seconds between two heartbeats.
            send_heartbeats: Called that often.
            retry_artifacts: Called each second.
            see_to_committer: Called after a stretch of time in which something was written.
        """
        self._writer = writer
        self._does_sync = does_sync
        self._heartbeat_s = heartbeat_s
        self._send_heartbeats = send_heartbeats
        self._retry_artifacts = retry_artifacts
        self._see_to_committer = see_to_committer
        self._n_syncs = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlwarehouse-keeper", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the thread runs; in a forked child it doesn't."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the thread and wait for it, a moment."""
        self._stop.set()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        # All by the monotonic clock: the other one jumps.
        next_heartbeat = time.monotonic() + self._heartbeat_s
        while not self._stop.wait(SYNC_S):
            try:
                if time.monotonic() >= next_heartbeat:
                    next_heartbeat = time.monotonic() + self._heartbeat_s
                    self._send_heartbeats()
                self._look_after_the_spool()
                self._retry_artifacts()
            except Exception:
                # The heartbeats and syncs of a long training hang on this thread.
                LOGGER.exception("looking after the spool failed; trying again in %s s", SYNC_S)

    def _look_after_the_spool(self) -> None:
        # Whoever answers for what they wrote, as a server does, has synced it by now.
        has_news = self._writer.is_dirty or self._writer.n_syncs != self._n_syncs
        self._writer.heal()
        if has_news:
            is_synced = not self._does_sync or self._writer.sync()
            self._n_syncs = self._writer.n_syncs
            # Where the spool's place refuses there is nothing to commit, nor a log to start a committer with.
            if is_synced:
                self._see_to_committer()
