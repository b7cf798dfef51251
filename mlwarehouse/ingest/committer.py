"""The committer: a process of its own that drains this machine's spool into the tables, about once a second.

Started on demand by whoever logs, elected by a file lock that dies with its holder, and gone when nothing is left to
do. ``python -m mlwarehouse.ingest.committer WAREHOUSE SPOOL INTERVAL IDLE MAINTENANCE`` is what gets started.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

from mlwarehouse.ingest.maintaining import BackgroundMaintenance
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.trouble import Trouble
from mlwarehouse.storage import Storage, open_storage

LOGGER = logging.getLogger("mlwarehouse.committer")

POLL_S = 0.02
"""How often the committer looks whether somebody waits for it."""

RETRY_S = 5.0
"""Pause after a commit that failed: the storage may come back."""


def start_committer(
    warehouse_uri: str, folder: SpoolFolder, *, interval_s: float, idle_s: float, maintenance: str = "auto"
) -> None:
    """Start a committer unless one is alive; of several started at once one is elected and the others end.

    It is a new process, never a fork, in a session of its own: it outlives the caller and its terminal.
    """
    if folder.has_committer():
        return
    _reap()
    program = [sys.executable, "-m", "mlwarehouse.ingest.committer"]
    log = str(folder.log_path)
    # Spawned in one call of the C library, never by Python's fork: other threads may hold any lock at this moment.
    _CHILDREN.append(
        os.posix_spawn(
            sys.executable,
            [*program, warehouse_uri, str(folder.path), str(interval_s), str(idle_s), maintenance],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
    )


_CHILDREN: list[int] = []
"""Committers that this process has started and not yet seen end."""


def _reap() -> None:
    """Let go of committers that have ended, so that they don't stay as zombies of a long training."""
    for pid in list(_CHILDREN):
        try:
            ended, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            # A forked child has its parent's list and not its children.
            ended = pid
        if ended:
            _CHILDREN.remove(pid)


def run_committer(
    warehouse: Storage, folder: SpoolFolder, *, interval_s: float, idle_s: float, maintenance: str = "auto"
) -> int:
    """Be the committer until there is nothing left to do.

    Args:
        warehouse: The warehouse's folder.
        folder: The spool.
        interval_s: Seconds between two batches.
        idle_s: Seconds without a live writer after which to end.
        maintenance: ``auto`` looks after the tables beside committing; ``off`` doesn't.

    Returns:
        Rows committed; 0 when another committer is alive.
    """
    # Only the elected process pays for the engine.
    with folder.committer_lock() as elected:
        if not elected:
            return 0
        from mlwarehouse.engines.embedded import EmbeddedEngine
        from mlwarehouse.ingest.drain import Drain

        lock = _identity(folder)
        trouble = Trouble(folder.path, LOGGER)
        upkeep = BackgroundMaintenance(warehouse) if maintenance == "auto" else None
        has_looked = False
        drain: Drain | None = None
        engine = EmbeddedEngine(warehouse.child("tables"))
        n_rows = 0
        idle_since = time.monotonic()
        while True:
            if folder.is_repairing() or _identity(folder) != lock:
                # A repair wants to be alone; or the lock's file was removed, and another committer holds a new one.
                if upkeep is not None:
                    upkeep.wait()
                return n_rows
            started = time.monotonic()
            try:
                if drain is None:
                    drain = Drain(folder, engine)
                drained = drain.step()
            except Exception as error:
                # Nothing is lost: the spool keeps it, and the plan is taken up again from the file.
                trouble.meet(error, RETRY_S)
                drain = None
                time.sleep(RETRY_S)
                if _is_gone(warehouse):
                    return n_rows
                continue
            trouble.is_over()
            n_rows += drained.n_rows
            now = time.monotonic()
            if drained.n_rows or drained.n_live:
                idle_since = now
                has_looked = has_looked and not drained.n_rows
                if upkeep is not None:
                    upkeep.see_to()
            elif now - idle_since >= idle_s and (upkeep is None or not upkeep.is_busy):
                if has_looked or upkeep is None:
                    return n_rows
                # Many short programs leave as many small files as a long one: each looks once at its end.
                has_looked = True
                upkeep.see_to(now=True)
            if not drained.has_more:
                _pause(folder, started + interval_s)


def _is_gone(warehouse: Storage) -> bool:
    """Whether the warehouse was removed, rather than out of reach."""
    try:
        return not warehouse.exists()
    except OSError:
        return False


def _identity(folder: SpoolFolder) -> tuple[int, int] | None:
    """Which file the lock's path names."""
    try:
        stat = folder.lock_path.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


def _pause(folder: SpoolFolder, until: float) -> None:
    """Wait for the end of the interval, or until somebody asks for a commit."""
    asked = folder.commit_asked_at()
    time.sleep(POLL_S)
    while time.monotonic() < until and folder.commit_asked_at() == asked:
        time.sleep(POLL_S)


def main(arguments: list[str]) -> int:
    """The process's entry point."""
    root, spool, interval_s, idle_s, maintenance = arguments
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s")
    run_committer(
        open_storage(root),
        SpoolFolder(Path(spool)),
        interval_s=float(interval_s),
        idle_s=float(idle_s),
        maintenance=maintenance,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
