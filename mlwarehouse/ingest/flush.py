"""Having everything committed now: for those about to read the tables without us, and for `mlwarehouse sync`."""

from __future__ import annotations

import time
from collections.abc import Callable

from mlwarehouse.engines.base import Engine
from mlwarehouse.ingest.drain import Drain
from mlwarehouse.ingest.plan import read_plan
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_format import HEADER_SLOTS
from mlwarehouse.ingest.spool_reader import SegmentReader

POLL_S = 0.02


def commit_all(
    folder: SpoolFolder, engine: Engine, *, timeout_s: float, progress: Callable[[int], None] | None = None
) -> bool:
    """Have all that is in a spool at this moment committed, by the living committer or else by this process.

    Args:
        folder: The spool.
        engine: The engine that commits, where no committer is alive.
        timeout_s: How long to wait for a living committer.
        progress: Told the number of rows after each batch that this process commits.

    Returns:
        Whether it is all committed; False when the committer took longer.
    """
    if not folder.exists:
        return True
    marks = _marks(folder)
    deadline = time.monotonic() + timeout_s
    folder.ask_for_commit()
    while True:
        if _holds(folder, marks):
            return True
        with folder.committer_lock() as elected:
            if elected:
                drain = Drain(folder, engine)
                while True:
                    drained = drain.step()
                    if progress is not None and drained.n_rows:
                        progress(drained.n_rows)
                    if not drained.has_more and (not drained.n_rows or _holds(folder, marks)):
                        # Once more, for what the batch has emptied: segments whose writers are gone are removed.
                        drain.step()
                        return True
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)


def _marks(folder: SpoolFolder) -> dict[str, int]:
    """Index of the first empty slot of each segment."""
    plan = read_plan(folder)
    marks = {}
    for path in folder.segments():
        stretch = SegmentReader(path).read(plan.after.get(path.name, HEADER_SLOTS))
        if stretch is not None:
            marks[path.name] = stretch.end
    return marks


def _holds(folder: SpoolFolder, marks: dict[str, int]) -> bool:
    """Whether all up to the marks is committed. A segment that is gone was committed before it was removed."""
    plan = read_plan(folder)
    there = {p.name for p in folder.segments()}
    behind = [n for n, end in marks.items() if n in there and plan.after.get(n, HEADER_SLOTS) < end]
    return not behind and folder.committed_batch() >= plan.batch
