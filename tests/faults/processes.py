"""The processes of a warehouse, from outside."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def committers(root: Path) -> list[int]:
    """Process ids of the committers of a warehouse."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"mlwarehouse.ingest.committer" in command and str(root).encode() in command:
                found.append(int(entry.name))
    return found


def kill(pid: int) -> None:
    """`kill -9`, fine when the process has gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
