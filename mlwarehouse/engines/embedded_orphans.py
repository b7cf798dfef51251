"""Data files that no log entry names: about to be committed, or left by a process that died."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from mlwarehouse.engines.embedded_log import LogState, mentioned
from mlwarehouse.storage import FileInfo, Storage

ORPHAN_AGE_S = 24 * 3600.0
"""A file that no log entry names may be about to be committed; older than this it won't be."""


def orphans(
    place: Path | Storage, state: LogState, there: Mapping[str, FileInfo], *, before: float = math.inf
) -> list[str]:
    """The names of data files in a table's folder that no file of its log names, sorted.

    Args:
        place: The table's folder.
        state: What its log says.
        there: The files in the folder, listed before the log was read.
        before: Only files written before this time, seconds since the epoch.
    """
    unknown = {n for n, f in there.items() if n.endswith(".parquet") and f.modified_at < before}
    unknown -= state.files.keys() | state.removed.keys()
    # Older entries are read only where they may matter.
    return sorted(unknown - mentioned(place)) if unknown else []


def oldest_pending(state: LogState, now: float, age_s: float = ORPHAN_AGE_S) -> float:
    """The time, seconds since the epoch, before which no file is that may still be about to be committed.

    Args:
        state: What the log says.
        now: The present time.
        age_s: How old a file is then.

    Returns:
        Minus infinity when the clock can't be believed: it is behind the log's.
    """
    return now - age_s if now * 1000 >= state.committed_at else -math.inf
