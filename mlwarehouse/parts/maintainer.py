"""The maintainer's lock: one process at a time maintains, repairs or purges a warehouse."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse.errors import ConflictError
from mlwarehouse.storage import LocalStorage, Storage, storage_of

if TYPE_CHECKING:
    from mlwarehouse.ingest.alone import Alone


@contextmanager
def maintainer_lock(root: Path | Storage, *, wait_s: float = 10.0) -> Iterator[Alone]:
    """Be the only one who maintains a warehouse; the lock dies with its holder.

    Args:
        root: The warehouse's folder.
        wait_s: How long to wait for another to end: the committer's turns are short. In an object store it is waited
            for as long again as the lease of a process that died lasts.

    Raises:
        ConflictError: Another process is at it.
        StorageError: The object store can't be reached.
    """
    from mlwarehouse.ingest.alone import alone

    storage = storage_of(root)
    pause_s = 0.05
    if not isinstance(storage, LocalStorage):
        from mlwarehouse.engines.embedded_lease import LEASE_S

        wait_s, pause_s = wait_s + LEASE_S, 1.0
    deadline = time.monotonic() + wait_s
    with ExitStack() as stack:
        while (held := stack.enter_context(alone(storage))) is None:
            if time.monotonic() > deadline:
                raise ConflictError(f"Another process maintains the warehouse at `{storage.uri}`; let it finish.")
            stack.close()
            time.sleep(pause_s)
        yield held
