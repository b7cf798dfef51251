"""Removing files that nobody needs: behind the retention, behind the pins, and never what may still be committed.

A data file goes when no version within the retention has it and no pin names it; a file that no log entry names, when
it is too old to be about to be committed. Nothing goes while the clock is behind the newest commit's: its ages would
be wrong. Log entries are cleaned by delta-rs when it writes a checkpoint, behind Delta's own retention.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mlwarehouse.engines.embedded_log import replay
from mlwarehouse.engines.embedded_orphans import ORPHAN_AGE_S, oldest_pending, orphans
from mlwarehouse.engines.embedded_past import note_vacuum
from mlwarehouse.errors import StorageError
from mlwarehouse.storage import LocalStorage, Storage, each, storage_of
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
    if old:
        note_vacuum(storage)
    each(storage, storage.delete, [*old, *lost])
    n_staged, n_bytes = _collect_staged(storage, before=oldest_pending(state, now))
    return Removed(len(old), len(lost) + n_staged, n_bytes + sum(there[n].size for n in (*old, *lost)))


def _collect_staged(storage: Storage, *, before: float) -> tuple[int, int]:
    """Remove what a process that died in a commit has left beside the log's entries.

    Returns:
        How many files went, and their size. In an object store nothing is written there under another name.
    """
    if not isinstance(storage, LocalStorage):
        return 0, 0
    log = storage.child("_delta_log")
    lost = {n: f for n, f in log.files().items() if fnmatchcase(n, ".*.json.*") and f.modified_at < before}
    for name in lost:
        log.delete(name)
    return len(lost), sum(file.size for file in lost.values())
