"""Shutting a process in: it reads the files it was given, computes within its limits, and can do nothing else.

For a process that runs what a stranger wrote. Everything here is the kernel's doing and can't be taken back: Landlock
takes away the file system, a seccomp filter takes away system calls, rlimits bound memory and time. Landlock concerns
the calling thread and those it starts, so `shut_in` belongs before any library starts threads.
"""

from __future__ import annotations

import ctypes
import os
import resource
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from mlwarehouse.errors import SandboxUnavailableError
from mlwarehouse.sandbox import landlock, seccomp
from mlwarehouse.sandbox.calls import LIBC, called

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_READ_SEARCH = 1 << 2
SIGKILL = 9


@dataclass(frozen=True)
class Limits:
    """What a process may use.

    Attributes:
        memory_bytes: Address space beyond what it has now.
        cpu_s: Seconds of all its threads together.
    """

    memory_bytes: int
    cpu_s: int


def missing() -> list[str]:
    """What this machine lacks to shut a process in wholly; empty where nothing does."""
    lacks = []
    if landlock.version() < 1:
        lacks.append("Landlock (Linux 5.13 or newer, among the kernel's active security modules)")
    if not seccomp.is_supported():
        lacks.append("a seccomp filter for this processor (x86_64 and aarch64 have one)")
    return lacks


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent is gone.

    Args:
        parent: The parent's id; it may have died before the kernel was told.
    """
    called("prctl", LIBC.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)


def address_space_bytes() -> int:
    """The address space of this process now."""
    with open("/proc/self/statm", "rb") as source:
        return int(source.read().split()[0]) * resource.getpagesize()


def shut_in(files: Sequence[str], limits: Limits, *, without_landlock: bool = False) -> None:
    """Shut the calling process in, for good.

    From here on it opens nothing for writing, starts no process, makes no socket, and signals nobody else.

    Args:
        files: The files that it may go on reading.
        limits: What it may use.
        without_landlock: Do without Landlock where the kernel lacks it, or lacks seccomp: somebody has said so.

    Raises:
        SandboxUnavailableError: The kernel refused, or the process has more threads than this one.
    """
    if threading.active_count() > 1 or len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208
        raise SandboxUnavailableError("A process is shut in before it starts threads; this one has some.")
    lacks = missing()
    if lacks and not without_landlock:
        raise SandboxUnavailableError(f"This machine lacks {' and '.join(lacks)}.")
    base = address_space_bytes()
    called("prctl", LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    for what, most in (
        (resource.RLIMIT_AS, base + limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    if landlock.version() >= 1:
        landlock.restrict(files)
    _drop_capabilities()
    if seccomp.is_supported():
        seccomp.restrict()


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySet(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _drop_capabilities() -> None:
    """Give up root's powers, but for reading files of other users: which files those are Landlock says."""
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    sets = (_CapabilitySet * 2)()
    called("capget", LIBC.capget(ctypes.byref(header), sets))
    kept = sets[0].permitted & CAP_DAC_READ_SEARCH
    sets[0] = _CapabilitySet(kept, kept, 0)
    sets[1] = _CapabilitySet(0, 0, 0)
    called("capset", LIBC.capset(ctypes.byref(header), sets))
