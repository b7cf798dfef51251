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

from mlwarehouse.engines.embedded_checks import ORPHAN_AGE_S, is_past, orphans
from mlwarehouse.engines.embedded_log import replay
from mlwarehouse.engines.embedded_past import note_vacuum
from mlwarehouse.errors import StorageError
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


def collect_garbage(folder: Path, spec: TableSpec, *, retention_hours: float, pinned: Collection[str]) -> Removed:
    """Remove the files of a table's folder that nobody needs.

    Args:
        folder: The table's folder.
        spec: The table.
        retention_hours: How long files stay after they were removed from the table.
        pinned: Paths of files that pins protect.

    Raises:
        StorageError: The log can't be read; nothing was removed.
    """
    try:
        state = replay(folder)
    except ValueError as error:
        raise StorageError(
            f"Table `{spec.name}`: nothing was removed, since {error}; run `mlwarehouse doctor`."
        ) from error
    now_ms = time.time() * 1000
    if now_ms < state.committed_at:
        return Removed(0, 0, 0)
    there = {p.name: p for p in folder.glob("*.parquet")}
    kept = {*state.files, *pinned}
    limit = now_ms - retention_hours * 3_600_000
    old = [p for n, p in there.items() if n not in kept and n in state.removed and state.removed[n] < limit]
    # The log forgets removed files after Delta's retention; where ours is longer, they look like orphans till then.
    age_s = max(ORPHAN_AGE_S, retention_hours * 3600 if retention_hours > 168 else 0)
    lost = [p for p in orphans(folder, state) if p.name not in kept and is_past(p, age_s, state)]
    if old:
        note_vacuum(folder)
    # What a process that died in a commit has left beside the log's entries.
    lost += [p for p in (folder / "_delta_log").glob(".*.json.*") if is_past(p, ORPHAN_AGE_S, state)]
    n_bytes = 0
    for path in [*old, *lost]:
        n_bytes += path.stat().st_size
        path.unlink(missing_ok=True)
    return Removed(len(old), len(lost), n_bytes)
