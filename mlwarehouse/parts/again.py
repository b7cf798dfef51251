"""Asking again where what a question read from was taken away meanwhile."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from mlwarehouse.errors import FoldsGoneError

FOLD_TRIES = 3
"""How often folds that are dropped while they are read have a question asked anew."""

P = ParamSpec("P")
R = TypeVar("R")


def asked_again(ask: Callable[P, R]) -> Callable[P, R]:
    """A method that answers, asked again where the kept folds that it reads are dropped meanwhile, as by a purge."""

    @functools.wraps(ask)
    def asking(*arguments: P.args, **options: P.kwargs) -> R:
        for _ in range(FOLD_TRIES):
            with contextlib.suppress(FoldsGoneError):
                return ask(*arguments, **options)
        return ask(*arguments, **options)

    return asking
