"""Remembers answers by question and table versions: a page is as fresh as the last commit and asks nothing twice.

The cache holds answers, never anybody's choices: whoever asks the same of the same table versions gets the same frame.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class Memo:
    """A bounded least-recently-used cache that threads may share."""

    def __init__(self, capacity: int = 128) -> None:
        """Keep at most `capacity` answers."""
        self._capacity = capacity
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The remembered answer for `key`, or the computed one, which is then remembered.

        Two threads that ask at once may both compute; an exception is passed on and not remembered.
        """
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key]
        answer = compute()
        with self._lock:
            self._answers[key] = answer
            self._answers.move_to_end(key)
            while len(self._answers) > self._capacity:
                self._answers.popitem(last=False)
        return answer

    def __len__(self) -> int:
        return len(self._answers)
