"""Many files of a storage at once: in an object store nearly all of the time is spent waiting for answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mlwarehouse.storage.base import Storage
from mlwarehouse.storage.local import LocalStorage

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 16
"""Requests under way at once."""


def each(storage: Storage, do: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Do something for each of many files, several at once where answers take long.

    Args:
        storage: Where the files are.
        do: What is done; called from several threads.
        items: What it is called with.

    Returns:
        What it returned, in the same order.
    """
    items = list(items)
    if isinstance(storage, LocalStorage) or len(items) < 2:
        return [do(item) for item in items]
    with ThreadPoolExecutor(min(AT_ONCE, len(items))) as pool:
        return list(pool.map(do, items))


def read_many(storage: Storage, names: Sequence[str]) -> dict[str, bytes | None]:
    """The content of small files, by name; None where one isn't there.

    Raises:
        OSError: The storage can't be reached, or refuses.
    """

    def read(name: str) -> bytes | None:
        try:
            return storage.read(name)
        except FileNotFoundError:
            return None

    return dict(zip(names, each(storage, read, names), strict=True))
