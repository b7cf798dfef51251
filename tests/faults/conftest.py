"""Dying at a chosen file operation."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

OPERATIONS = ("open", "write", "fsync", "fdatasync", "rename", "replace", "link", "unlink", "ftruncate", "mkdir")
"""The system's calls that a spool, a commit and the artifact store change files by."""


class Killed(BaseException):
    """Stands for `kill -9`: nothing catches it, and nothing that is done afterwards reaches the disk."""


class Countdown:
    """Lets a number of file operations pass and refuses each one after them.

    Attributes:
        done: Operations that were let pass.
    """

    def __init__(self, allowed: int) -> None:
        self.done = 0
        self._allowed = allowed

    def wrap(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(operation)
        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.done >= self._allowed:
                raise Killed
            self.done += 1
            return operation(*args, **kwargs)

        return counted


@contextmanager
def dying_after(allowed: int):
    """Within it, the process dies at the file operation behind the first ``allowed``; yields the `Countdown`.

    A Parquet file's writing and a Delta log entry's are one operation each, with a death before and after them.
    """
    countdown = Countdown(allowed)
    with pytest.MonkeyPatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, countdown.wrap(getattr(os, name)))
        patch.setattr(pq, "write_table", countdown.wrap(pq.write_table))
        patch.setattr(DeltaTable, "create_write_transaction", countdown.wrap(DeltaTable.create_write_transaction))
        yield countdown
