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
from typing import TYPE_CHECKING

from mlwarehouse.errors import WarehouseError
from mlwarehouse.ingest.alone import Alone, alone
from mlwarehouse.storage import LocalStorage, Storage, storage_of

if TYPE_CHECKING:
    from mlwarehouse.engines.embedded_tables import EmbeddedTables

LOGGER = logging.getLogger("mlwarehouse.maintenance")

EVERY_S = 20.0
"""How often the committer looks whether there is something to merge."""

CLEAN_EVERY_S = 3600.0

STEPS = 32
"""At most this many groups are merged in one turn."""

NICENESS = 10
"""The thread gives way to everything else on the machine."""


class BackgroundMaintenance:
    """Turns of maintenance, one at a time, in a thread."""

    def __init__(self, warehouse: Storage) -> None:
        """Do nothing yet."""
        self._root = warehouse
        self._tables: EmbeddedTables | None = None
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
            if self._tables is None:
                from mlwarehouse.engines.embedded_tables import EmbeddedTables

                # Kept between turns: what is known of the tables needn't be asked for again.
                self._tables = EmbeddedTables(self._root.child("tables"))
            n = take_turn(self._root, self._tables)
            if n:
                LOGGER.info("merged %s groups of small files", n)
        except Exception:
            # Commits go on without it; `doctor` tells of many small files.
            LOGGER.exception("the tables couldn't be maintained")
        finally:
            from mlwarehouse.engines.memory import give_back

            give_back()


def take_turn(warehouse_root: Path | Storage, tables: EmbeddedTables | None = None) -> int:
    """Merge small files where there are many, and remove what nobody needs if that was long ago.

    Args:
        warehouse_root: The warehouse's folder.
        tables: Its tables, if they are open already.

    Returns:
        How many groups of files were merged; 0 also when another process is at it.

    Raises:
        StorageError: A table couldn't be maintained; it is as it was.
    """
    from mlwarehouse.engines.embedded_follow import write_checkpoint
    from mlwarehouse.engines.embedded_maintain import has_much, maintain_a_little
    from mlwarehouse.engines.embedded_states import refresh
    from mlwarehouse.engines.embedded_tables import EmbeddedTables
    from mlwarehouse.tables import TABLES

    root = storage_of(warehouse_root)
    tables = tables or EmbeddedTables(root.child("tables"))
    if not isinstance(root, LocalStorage):
        _fold_here(tables)
    # A lock costs nothing; a lease costs requests, so a look at the tables comes first.
    if not isinstance(root, LocalStorage) and not any(has_much(tables, spec) for spec in TABLES) and not _is_due(root):
        return 0
    with alone(root) as turn:
        if turn is None:
            return 0
        n = 0
        for spec in TABLES:
            before = n
            while n < STEPS and turn.now() and maintain_a_little(tables, spec):
                n += 1
            if n > before:
                write_checkpoint(tables.place(spec))
        if isinstance(root, LocalStorage):
            refresh(tables)
        # A clock that was set back must not put it off for ever.
        if abs(turn.now() - turn.cleaned_at) > CLEAN_EVERY_S:
            _clean(tables, turn)
        return n


def _fold_here(tables: EmbeddedTables) -> None:
    """Take up this machine's folds of tables in an object store, on machines where questions are asked."""
    from mlwarehouse.engines.embedded_states import derived_folder, refresh

    try:
        tables.heed_purges()
        if derived_folder(tables).exists():
            refresh(tables)
    except (WarehouseError, OSError):
        # This machine's disk may be full; what is for all goes on.
        LOGGER.exception("the folds on this machine couldn't be taken up")


def _is_due(root: Storage) -> bool:
    """Whether files were last removed long ago."""
    from mlwarehouse.engines.embedded_lease import Lease

    return abs(time.time() - Lease(root).look().cleaned_at) > CLEAN_EVERY_S


def _clean(tables: EmbeddedTables, turn: Alone) -> None:
    from mlwarehouse.engines.embedded_maintain import clean
    from mlwarehouse.engines.pins import pinned_files
    from mlwarehouse.tables import TABLES

    for spec in TABLES:
        clean(tables, spec, pinned=pinned_files(tables.storage.parent, spec.name), now=turn.now())
    turn.note_cleaned()
