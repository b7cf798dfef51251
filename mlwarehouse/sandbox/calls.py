"""Calls into the C library, with their failures as errors."""

from __future__ import annotations

import ctypes
import os

from mlwarehouse.errors import SandboxUnavailableError

LIBC = ctypes.CDLL(None, use_errno=True)


def called(name: str, outcome: int) -> int:
    """The outcome of a call that says by -1 that it failed.

    Raises:
        SandboxUnavailableError: It failed.
    """
    if outcome == -1:
        raise SandboxUnavailableError(f"The kernel refused `{name}`: {os.strerror(ctypes.get_errno())}.")
    return outcome
