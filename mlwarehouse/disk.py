"""Forcing things to disk, the one way that spool, commits and artifacts do it."""

from __future__ import annotations

import os
from pathlib import Path


def sync_path(path: Path) -> None:
    """Force a file's content, or a folder's entries, to disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
