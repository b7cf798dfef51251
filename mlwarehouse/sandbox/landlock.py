"""Landlock: a process takes from itself, and from all it starts, the files and sockets that it doesn't need.

Structures and numbers are those of the kernel's ``include/uapi/linux/landlock.h``.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence

from mlwarehouse.sandbox.calls import LIBC, called

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls; their numbers are the same on every processor."""

ASK_VERSION = 1
RULE_PATH_BENEATH = 1

READ_FILE = 1 << 2
FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""Rights on files by the version that brought them: execute to make-symlink, refer, truncate, device control."""

NETWORK_RIGHTS = {4: 0b11}
"""Binding and connecting by TCP."""

SCOPES = {6: 0b11}
"""Abstract sockets and signals that lead out."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The kernel's version of Landlock; 0 where it has none or has it switched off."""
    return max(0, int(LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(ASK_VERSION))))


def restrict(readable: Sequence[str]) -> None:
    """Take everything from this thread, and those it starts, that Landlock knows of, except reading some files.

    Args:
        readable: Paths of files.

    Raises:
        SandboxUnavailableError: The kernel refused.
        OSError: A file isn't there.
    """
    has = version()
    ruleset = _Ruleset(
        *(sum(r for v, r in rights.items() if v <= has) for rights in (FILE_RIGHTS, NETWORK_RIGHTS, SCOPES))
    )
    # An older kernel refuses a structure with fields that it doesn't know.
    size = 8 if has < 4 else 16 if has < 6 else 24
    handle = called(
        "landlock_create_ruleset",
        LIBC.syscall(CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0)),
    )
    try:
        for path in readable:
            beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                rule = _PathBeneath(READ_FILE, beneath)
                outcome = LIBC.syscall(ADD_RULE, handle, RULE_PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0))
                called("landlock_add_rule", outcome)
            finally:
                os.close(beneath)
        called("landlock_restrict_self", LIBC.syscall(RESTRICT_SELF, handle, ctypes.c_uint32(0)))
    finally:
        os.close(handle)
