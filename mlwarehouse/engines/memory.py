"""Memory that was freed, given back to the system.

Allocators keep what a long process has freed, in pieces; the committer's maintenance needs a hundred megabytes now and
then and lives for weeks.
"""

from __future__ import annotations

import contextlib
import ctypes

import pyarrow as pa


def give_back() -> None:
    """Give the system what Arrow and the C library hold and nobody uses."""
    pa.default_memory_pool().release_unused()
    # Of the GNU C library; other systems' take care of it themselves.
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
