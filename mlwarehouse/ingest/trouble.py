"""What keeps the committer from committing, told once an outage: in its log, and to the processes that log.

The committer writes it into the spool's file ``trouble`` and removes that when it commits again; a logging process
looks for the file about once a second, and warns its user.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
import warnings
from pathlib import Path

from mlwarehouse.storage import LocalStorage

FILE = "trouble"

REPEAT_S = 1800.0
"""How often the committer's log says that it still fails: `doctor` tells of what was said in the last hour."""


class Trouble:
    """The committer's side."""

    def __init__(self, spool: Path, logger: logging.Logger) -> None:
        """Take up what an earlier committer left.

        Args:
            spool: The spool's folder.
            logger: Where to say it.
        """
        self._spool = spool
        self._logger = logger
        self._since = 0.0
        self._began_at = 0
        self._said_at = 0.0
        (spool / FILE).unlink(missing_ok=True)

    def meet(self, error: Exception, retry_s: float) -> None:
        """Note that a batch couldn't be committed; called where the error is handled."""
        now = time.monotonic()
        why = str(error) or type(error).__name__
        is_first = not self._since
        if is_first:
            self._since, self._began_at = now, time.time_ns() // 1000
        # The disk may be what is wrong.
        with contextlib.suppress(OSError):
            LocalStorage(self._spool).write(FILE, json.dumps({"at": self._began_at, "why": why}).encode())
        # Not each time, nor each reason: what is away is away for every table.
        if is_first or now - self._said_at > REPEAT_S:
            self._said_at = now
            self._logger.exception("a batch couldn't be committed; it is tried again every %s s until it can", retry_s)

    def is_over(self) -> None:
        """Note that committing works."""
        if self._since:
            self._logger.info("commits go on, after %.0f s", time.monotonic() - self._since)
            self._since = 0.0
            (self._spool / FILE).unlink(missing_ok=True)


def trouble_in(spool: Path) -> str | None:
    """What keeps a spool's committer from committing; None where nothing does, or did last."""
    try:
        return str(json.loads((spool / FILE).read_bytes())["why"])
    except (OSError, ValueError, KeyError):
        return None


class TroubleWatch:
    """A logging process's side: warns once an outage."""

    def __init__(self, spool: Path) -> None:
        """Look at nothing yet."""
        self._path = spool / FILE
        self._told_of = 0

    def look(self) -> None:
        """Warn if commits fail and that hasn't been said."""
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return
        if found["at"] != self._told_of:
            self._told_of = found["at"]
            since = time.strftime("%T", time.localtime(found["at"] / 1e6))
            warnings.warn(
                f"What this process logs can't be committed since {since} ({found['why']}). Logging goes on: it waits "
                f"in the spool `{self._path.parent}` and is committed when that works again.",
                RuntimeWarning,
                stacklevel=2,
            )
