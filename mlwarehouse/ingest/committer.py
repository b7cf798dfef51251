"""The committer: a process of its own that drains this machine's spool into the tables, about once a second.

Started on demand by whoever logs, elected by a file lock that dies with its holder, and gone when nothing is left to
do. ``python -m mlwarehouse.ingest.committer WAREHOUSE SPOOL INTERVAL IDLE`` is what gets started.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

from mlwarehouse.ingest.spool_folder import SpoolFolder

LOGGER = logging.getLogger("mlwarehouse.committer")

POLL_S = 0.02
"""How often the committer looks whether somebody waits for it."""

RETRY_S = 5.0
"""Pause after a commit that failed: the storage may come back."""


def start_committer(warehouse_root: Path, folder: SpoolFolder, *, interval_s: float, idle_s: float) -> None:
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
            [*program, str(warehouse_root), str(folder.path), str(interval_s), str(idle_s)],
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


def run_committer(warehouse_root: Path, folder: SpoolFolder, *, interval_s: float, idle_s: float) -> int:
    """Be the committer until there is nothing left to do.

    Args:
        warehouse_root: The warehouse's folder.
        folder: The spool.
        interval_s: Seconds between two batches.
        idle_s: Seconds without a live writer after which to end.

    Returns:
        Rows committed; 0 when another committer is alive.
    """
    # Only the elected process pays for the engine.
    with folder.committer_lock() as elected:
        if not elected:
            return 0
        from mlwarehouse.engines.embedded import EmbeddedEngine
        from mlwarehouse.ingest.drain import Drain

        drain: Drain | None = None
        engine = EmbeddedEngine(warehouse_root / "tables")
        n_rows = 0
        idle_since = time.monotonic()
        while True:
            started = time.monotonic()
            try:
                if drain is None:
                    drain = Drain(folder, engine)
                drained = drain.step()
            except Exception:
                # Nothing is lost: the spool keeps it, and the plan is taken up again from the file.
                LOGGER.exception("a batch couldn't be committed; trying again in %s s", RETRY_S)
                drain = None
                time.sleep(RETRY_S)
                if not warehouse_root.exists():
                    return n_rows
                continue
            n_rows += drained.n_rows
            now = time.monotonic()
            if drained.n_rows or drained.n_live:
                idle_since = now
            elif now - idle_since >= idle_s:
                return n_rows
            if not drained.has_more:
                _pause(folder, started + interval_s)


def _pause(folder: SpoolFolder, until: float) -> None:
    """Wait for the end of the interval, or until somebody asks for a commit."""
    asked = folder.commit_asked_at()
    time.sleep(POLL_S)
    while time.monotonic() < until and folder.commit_asked_at() == asked:
        time.sleep(POLL_S)


def main(arguments: list[str]) -> int:
    """The process's entry point."""
    root, spool, interval_s, idle_s = arguments
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s")
    run_committer(Path(root), SpoolFolder(Path(spool)), interval_s=float(interval_s), idle_s=float(idle_s))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
