"""The keeper: one thread of a logging process that syncs its spool, sends heartbeats and sees to the committer."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable

from mlwarehouse.ingest.spool_writer import SpoolWriter

SYNC_S = 1.0
"""Seconds between two syncs: what a power cut may take with `durability = interval`."""


class Keeper:
    """Runs from the first run of a process to its end, and ends with it."""

    def __init__(
        self,
        writer: SpoolWriter,
        *,
        does_sync: bool,
        heartbeat_s: float,
        send_heartbeats: Callable[[], None],
        see_to_committer: Callable[[], None],
    ) -> None:
        """Start the thread.

        Args:
            writer: What to sync.
            does_sync: Whether to sync at all.
            heartbeat_s: Seconds between two heartbeats.
            send_heartbeats: Called that often.
            see_to_committer: Called after a stretch of time in which something was written.
        """
        self._writer = writer
        self._does_sync = does_sync
        self._heartbeat_s = heartbeat_s
        self._send_heartbeats = send_heartbeats
        self._see_to_committer = see_to_committer
        self._is_told = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlwarehouse-keeper", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the thread runs; in a forked child it doesn't."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        next_heartbeat = time.monotonic() + self._heartbeat_s
        while not self._stop.wait(SYNC_S):
            if time.monotonic() >= next_heartbeat:
                self._send_heartbeats()
                next_heartbeat = time.monotonic() + self._heartbeat_s
            if self._writer.is_dirty:
                self._see_to_committer()
                if self._does_sync:
                    self._sync()

    def _sync(self) -> None:
        try:
            self._writer.sync()
            self._is_told = False
        except OSError as error:
            # Once, until it works again: the thread lives on, and with it heartbeats and the next try.
            if not self._is_told:
                self._is_told = True
                warnings.warn(
                    f"mlwarehouse couldn't force the spool to disk ({error.strerror}); trying again each second.",
                    RuntimeWarning,
                    stacklevel=2,
                )
