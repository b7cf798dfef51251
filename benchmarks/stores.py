"""Stores that several benchmarks ask, made once for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

VARIABLE = "MLWAREHOUSE_BENCH_STORES"
"""Names a folder for stores; the command that runs the benchmarks makes one and removes it."""


def store(name: str, place: Path, make: Callable[[Path], object]) -> Path:
    """The folder of a store.

    Args:
        name: What it is called.
        place: Where to make it when nobody shares stores.
        make: Makes it in a folder, which isn't there yet.
    """
    root = Path(os.environ.get(VARIABLE, place))
    folder, done = root / name, root / f"{name}.done"
    if not done.exists():
        make(folder)
        done.touch()
    return folder
