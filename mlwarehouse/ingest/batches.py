"""What `log_batch` is given: points, params and tags as objects in MLflow's shape, taken apart and checked."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any

from mlwarehouse.errors import InvalidInputError

Point = tuple[str, float, int | None, int]
"""Key, value, milliseconds since the epoch or None, and step."""


def checked_points(metrics: Iterable[Any]) -> list[Point]:
    """Metric points, each checked.

    Raises:
        InvalidInputError: One isn't a point: its key isn't text, its value isn't a number, or its step or time isn't
            a whole number of 64 bits.
    """
    return [_point(metric) for metric in metrics]


def _point(metric: Any) -> Point:
    try:
        key, value, timestamp, step = metric.key, metric.value, metric.timestamp, metric.step
        number = float(value)
        at = None if timestamp is None else operator.index(timestamp)
        place = 0 if step is None else operator.index(step)
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{metric!r} can't be logged as a metric ({error}); a point has `key`, `value` (a number), `timestamp` and "
            "`step` (whole numbers)."
        ) from error
    if not isinstance(key, str) or not key:
        raise InvalidInputError(f"A metric's key must be text that isn't empty; got {key!r}.")
    if not -(2**63) <= place < 2**63 or not -(2**63) <= (at or 0) * 1000 < 2**63:
        raise InvalidInputError(f"Metric `{key}` has a step or time beyond 64 bits: {place}, {at}.")
    return key, number, at, place


def checked_pairs(what: str, pairs: Mapping[Any, Any] | Iterable[Any]) -> list[tuple[Any, Any]]:
    """Params or tags as pairs of key and value.

    Args:
        what: ``param`` or ``tag``.
        pairs: A dict, or objects with ``key`` and ``value``.

    Raises:
        InvalidInputError: One has no key or no value.
    """
    if isinstance(pairs, Mapping):
        return list(pairs.items())
    try:
        return [(pair.key, pair.value) for pair in pairs]
    except AttributeError as error:
        raise InvalidInputError(
            f"A {what} can't be logged ({error}); pass a dict, or objects that have `key` and `value`."
        ) from error
