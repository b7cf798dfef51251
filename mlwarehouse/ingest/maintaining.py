"""Maintenance in the background: in a thread of the committer, in small steps, so that commits go on meanwhile.

A step merges one group of small files of one table. Kept folds are taken up when enough has come in. Files that nobody
needs any more are removed about once an hour.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

from mlwarehouse.ingest.spool_folder import try_lock

LOGGER = logging.getLogger("mlwarehouse.maintenance")

LOCK = "_maintainer.lock"
"""The file in the warehouse whose lock a maintainer holds; it was last touched when files were last removed."""

EVERY_S = 20.0
"""How often the committer looks whether there is something to merge."""

CLEAN_EVERY_S = 3600.0

STEPS = 32
"""At most this many groups are merged in one turn."""

NICENESS = 10
"""The thread gives way to everything else on the machine."""


class BackgroundMaintenance:
    """Turns of maintenance, one at a time, in a thread."""

    def __init__(self, warehouse_root: Path) -> None:
        """Do nothing yet."""
        self._root = warehouse_root
        self._thread: threading.Thread | None = None
        self._last = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether a turn is being taken."""
        return self._thread is not None and self._thread.is_alive()

    def see_to(self, *, now: bool = False) -> None:
        """Take a turn if it is time for one; returns at once.

        Args:
            now: Don't wait for the time.
        """
        if self.is_busy or (not now and time.monotonic() - self._last < EVERY_S):
            return
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._turn, name="mlwarehouse-maintenance", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for the end of the turn."""
        if self._thread is not None:
            self._thread.join()

    def _turn(self) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
            n = take_turn(self._root)
            if n:
                LOGGER.info("merged %s groups of small files", n)
        except Exception:
            # Commits go on without it; `doctor` tells of many small files.
            LOGGER.exception("the tables couldn't be maintained")


def take_turn(warehouse_root: Path) -> int:
    """Merge small files where there are many, and remove what nobody needs if that was long ago.

    Args:
        warehouse_root: The warehouse's folder.

    Returns:
        How many groups of files were merged; 0 also when another process is at it.
    """
    from mlwarehouse.engines.embedded_follow import write_checkpoint
    from mlwarehouse.engines.embedded_maintain import clean, maintain_a_little
    from mlwarehouse.engines.embedded_states import refresh
    from mlwarehouse.engines.embedded_tables import EmbeddedTables
    from mlwarehouse.engines.pins import pinned_files
    from mlwarehouse.tables import TABLES

    lock = warehouse_root / LOCK
    is_first = not lock.exists()
    fd = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not try_lock(fd):
            return 0
        tables = EmbeddedTables(warehouse_root / "tables")
        n = 0
        for spec in TABLES:
            before = n
            while n < STEPS and maintain_a_little(tables, spec):
                n += 1
            if n > before:
                write_checkpoint(tables.path(spec))
        refresh(tables)
        # A clock that was set back must not put it off for ever.
        if is_first or abs(time.time() - os.fstat(fd).st_mtime) > CLEAN_EVERY_S:
            for spec in TABLES:
                clean(tables, spec, pinned=pinned_files(warehouse_root, spec.name))
            os.utime(fd)
        return n
    finally:
        os.close(fd)
