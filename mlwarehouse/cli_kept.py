"""Kept snapshots as rows of the command line's tables."""

from __future__ import annotations

import datetime as dt
from typing import Any

from mlwarehouse.entities import KeptSnapshot


def kept_row(kept: KeptSnapshot) -> dict[str, Any]:
    """A kept snapshot as a row."""
    taken_at = dt.datetime.fromtimestamp(kept.snapshot.taken_at / 1000, dt.UTC)
    said = {"name": kept.name, "taken_at": taken_at, "kept_by": kept.kept_by, "note": kept.note}
    return said | {"snapshot": str(kept.snapshot)}
