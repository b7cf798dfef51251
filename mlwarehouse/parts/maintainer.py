"""The maintainer's lock: one process at a time maintains, repairs or purges a warehouse."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlwarehouse.errors import ConflictError


@contextmanager
def maintainer_lock(root: Path, *, wait_s: float = 10.0) -> Iterator[None]:
    """Be the only one who maintains a warehouse; the lock dies with its holder.

    Args:
        root: The warehouse's folder.
        wait_s: How long to wait for another to end: the committer's turns are short.

    Raises:
        ConflictError: Another process is at it.
    """
    from mlwarehouse.ingest.maintaining import LOCK
    from mlwarehouse.ingest.spool_folder import try_lock

    fd = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + wait_s
        while not (locked := try_lock(fd)) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not locked:
            raise ConflictError(f"Another process maintains the warehouse at `{root}`; let it finish.")
        yield
    finally:
        os.close(fd)
