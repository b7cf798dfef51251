"""What is known and told of a spool's place that refuses."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_reserve import RESERVE_BYTES

LOGGER = logging.getLogger("mlwarehouse")


@dataclass
class Outage:
    """A writer's view of its place.

    Attributes:
        why: The place's last answer; empty while it takes records.
        is_told: Whether it was told that it refuses, and not yet that it doesn't any more.
        is_healing: Whether what waits is being written at the moment.
        next_try: When a logging call may try again, by the monotonic clock.
        lost: Rows by table that couldn't be kept, and that isn't written down yet.
    """

    why: str = ""
    is_told: bool = False
    is_healing: bool = False
    next_try: float = 0.0
    lost: Counter[str] = field(default_factory=Counter)
    _news: list[str] = field(default_factory=list)

    def tell_of_refusal(self, place: Path) -> None:
        """Say, once, that the place refuses."""
        if not self.is_told:
            self.is_told = True
            self._news.append(
                f"mlwarehouse can't keep what is logged in `{place}` ({self.why}; since {_now()}). Training goes on: "
                f"up to {RESERVE_BYTES >> 20} MiB wait in memory until the place can be written, which is tried each "
                "second; what doesn't fit is counted as dropped. What waits is lost if this process is killed."
            )

    def tell_of_healing(self, folder: SpoolFolder) -> None:
        """Say that the place takes records again, and write down what was lost."""
        self.is_told = False
        lost = sum(self.lost.values())
        told = f"; {lost} rows didn't fit and were dropped, see `mlwarehouse doctor`" if lost else ""
        self.note_losses(folder)
        self._news.append(
            f"mlwarehouse writes to `{folder.segments_path}` again, and what waited in memory is there{told} "
            f"({_now()})."
        )

    def tell_of_rescue(self, place: Path, rescued: Path) -> None:
        """Say where to find what waited when the process ended."""
        self._news.append(
            f"mlwarehouse couldn't write to `{place}` again. What waited in memory is in `{rescued}`: move the files "
            "of its `segments` there when you can, and run `mlwarehouse sync`."
        )

    def tell_of_loss(self, why: str) -> None:
        """Say that what waited couldn't be rescued."""
        self._news.append(f"mlwarehouse lost what waited in memory: {why}.")

    def note_losses(self, folder: SpoolFolder) -> None:
        """Write down what was lost, for `doctor`; what can't be written stays for the next time."""
        for table, n_rows in list(self.lost.items()):
            try:
                if n_rows:
                    folder.note_loss(table, n_rows, f"the spool refused them to process {os.getpid()}")
            except OSError:
                continue
            del self.lost[table]

    def deliver(self) -> None:
        """Give out what is to be told, as warnings. Outside the writer's lock: what shows them may log."""
        while self._news:
            try:
                message = self._news.pop(0)
            except IndexError:
                return
            tell(message)


def tell(message: str) -> None:
    """Warn of something that must not end a training, nor the thread that looks after it."""
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=6)
    except RuntimeWarning:
        # Where warnings are errors.
        LOGGER.warning(message)


def reason(error: OSError) -> str:
    """What the system says."""
    return error.strerror or str(error)


def _now() -> str:
    return f"{time.strftime('%H:%M:%S', time.gmtime())} UTC"
