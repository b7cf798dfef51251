"""The code that a run ran: commit, branch, and what was changed since, as git says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 5.0
"""A checkout on a slow disk: what git hasn't said by then stays unknown."""

MAX_DIFF_BYTES = 1 << 20
"""What is kept of a difference to the commit."""


@dataclass(frozen=True)
class SourceCode:
    """A git checkout.

    Attributes:
        commit: The commit that is checked out.
        branch: The branch; ``HEAD`` when none is.
        is_dirty: Whether files that git knows were changed since; None when that isn't known.
        diff: How they were changed, up to `MAX_DIFF_BYTES`; empty when it wasn't wanted.
        is_cut: Whether there was more.
    """

    commit: str
    branch: str
    is_dirty: bool | None
    diff: bytes
    is_cut: bool


def source_code(*, with_diff: bool) -> SourceCode | None:
    """The checkout that the entry script is in, or else the working directory; None outside of git.

    Args:
        with_diff: Whether to keep what was changed.
    """
    folder = _entry_folder()
    head = _git(folder, "rev-parse", "HEAD", "--abbrev-ref", "HEAD")
    if head is None or head.count(b"\n") < 2:
        return None
    commit, branch = head.decode(errors="replace").splitlines()[:2]
    wanted = ("diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv")
    changed = _git(folder, *wanted) if with_diff else _git(folder, "status", "--porcelain", "--untracked-files=no")
    return SourceCode(
        commit=commit,
        branch=branch,
        is_dirty=None if changed is None else bool(changed),
        diff=(changed or b"")[:MAX_DIFF_BYTES] if with_diff else b"",
        is_cut=with_diff and len(changed or b"") > MAX_DIFF_BYTES,
    )


def _entry_folder() -> Path:
    script = Path(sys.argv[0]) if sys.argv and sys.argv[0] else None
    return script.resolve().parent if script is not None and script.is_file() else Path.cwd()


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git prints, up to a byte more than is kept; None where it fails or takes too long."""
    # Looking must not write: git would refresh its index, and wait for whoever holds it.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            ["git", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError:
        return None
    alarm = threading.Timer(TIMEOUT_S, process.kill)
    alarm.start()
    with process:
        assert process.stdout is not None
        said = process.stdout.read(MAX_DIFF_BYTES + 1)
        if len(said) > MAX_DIFF_BYTES:
            process.kill()
    alarm.cancel()
    return said if process.returncode == 0 or len(said) > MAX_DIFF_BYTES else None
