"""Removing files that nobody needs: behind the retention, behind the pins, and never what may still be committed.

A data file goes when no version within the retention has it and no pin names it; a file that no log entry names, when
it is too old to be about to be committed. Nothing goes while the clock is behind the newest commit's: its ages would
be wrong. Log entries are cleaned by delta-rs when it writes a checkpoint, behind Delta's own retention.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from mlwarehouse.engines.embedded_log import replay
from mlwarehouse.engines.embedded_orphans import ORPHAN_AGE_S, oldest_pending, orphans
from mlwarehouse.errors import StorageError
from mlwarehouse.storage import Storage, each, storage_of
from mlwarehouse.tables import TableSpec


@dataclass(frozen=True)
class Removed:
    """What was removed from a table's folder.

    Attributes:
        n_old: Files that only versions behind the retention needed.
        n_orphans: Files that no log entry named.
        n_bytes: The size of both.
    """

    n_old: int
    n_orphans: int
    n_bytes: int


def collect_garbage(
    place: Path | Storage,
    spec: TableSpec,
    *,
    retention_hours: float,
    pinned: Collection[str],
    now: float | None = None,
) -> Removed:
    """Remove the files of a table's folder that nobody needs.

    Args:
        place: The table's folder.
        spec: The table.
        retention_hours: How long files stay after they were removed from the table.
        pinned: Paths of files that pins protect.
        now: The present time, seconds since the epoch; None asks this machine's clock.

    Raises:
        StorageError: The log can't be read; nothing was removed.
    """
    storage = storage_of(place)
    there = storage.files()
    try:
        state = replay(storage)
    except ValueError as error:
        raise StorageError(
            f"Table `{spec.name}`: nothing was removed, since {error}; run `mlwarehouse doctor`."
        ) from error
    now = time.time() if now is None else now
    if now * 1000 < state.committed_at:
        return Removed(0, 0, 0)
    kept = {*state.files, *pinned}
    limit = (now - retention_hours * 3600) * 1000
    old = [n for n in there if n not in kept and n in state.removed and state.removed[n] < limit]
    # The log forgets removed files after Delta's retention; where ours is longer, they look like orphans till then.
    age_s = max(ORPHAN_AGE_S, retention_hours * 3600 if retention_hours > 168 else 0)
    lost = [n for n in orphans(storage, state, there, before=oldest_pending(state, now, age_s)) if n not in kept]
    each(storage, storage.delete, [*old, *lost])
    return Removed(len(old), len(lost), sum(there[n].size for n in (*old, *lost)))
