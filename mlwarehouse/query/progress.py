"""Progress of a long question on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WIDTH = 30
QUIET_S = 0.5
"""Questions shorter than this show nothing."""


class ProgressBar:
    """A bar on standard error; nothing where the question is short."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._begun = time.monotonic()
        self._is_shown = False

    def __call__(self, share: float) -> None:
        """Show the share that is done, from 0 to 1."""
        if time.monotonic() - self._begun < QUIET_S:
            return
        full = round(share * WIDTH)
        seconds = time.monotonic() - self._begun
        bar = "█" * full + "░" * (WIDTH - full)
        print(f"\r\033[K{bar} {share:4.0%} {seconds:.0f} s", end="", file=sys.stderr, flush=True)
        self._is_shown = True

    def clear(self) -> None:
        """Take the bar away."""
        if self._is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._is_shown = False


@contextmanager
def shown(progress: bool | Callable[[float], None]) -> Iterator[Callable[[float], None] | None]:
    """What to call with the share that is done: the caller's function, a bar that goes in the end, or nothing."""
    if not isinstance(progress, bool):
        yield progress
    elif progress and sys.stderr.isatty():
        bar = ProgressBar()
        try:
            yield bar
        finally:
            bar.clear()
    else:
        yield None
