"""How often somebody may ask: a bucket of tokens each, which fills at a steady rate."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_BUCKETS = 10_000
"""Buckets that are remembered; one that was forgotten is full again."""


@dataclass
class _Bucket:
    left: float
    at: float


class Buckets:
    """One bucket for each name. Used by one thread: that of the event loop."""

    def __init__(self, rate: float, size: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with full buckets.

        Args:
            rate: How many requests a second; 0 for as many as come.
            size: How many at once, after a rest.
            clock: Tells the time in seconds.
        """
        self._rate, self._size, self._clock = rate, max(size, 1.0), clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_s(self, name: str) -> float:
        """Take one from a name's bucket, and say 0; where there is none, say in how many seconds there is one."""
        if not self._rate:
            return 0.0
        now = self._clock()
        bucket = self._buckets.pop(name, None) or _Bucket(self._size, now)
        self._buckets[name] = bucket
        if len(self._buckets) > MOST_BUCKETS:
            self._buckets.popitem(last=False)
        bucket.left = min(self._size, bucket.left + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.left < 1:
            return (1 - bucket.left) / self._rate
        bucket.left -= 1
        return 0.0
