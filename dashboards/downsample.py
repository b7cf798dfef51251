"""Fewer points with the same picture."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def downsample(values: npt.NDArray[np.float64], limit: int) -> npt.NDArray[np.intp]:
    """Choose points of a curve to draw: the first, the last, and each bucket's lowest and highest.

    Args:
        values: The y values in the order of x; NaN is never an extreme.
        limit: The most points to choose, at least 4.

    Returns:
        Positions in `values`, ascending; all of them when there are no more than `limit`.

    Raises:
        ValueError: `limit` is below 4.
    """
    import numpy as np

    if limit < 4:
        raise ValueError(f"A curve needs at least 4 points; {limit} were allowed.")
    n = len(values)
    if n <= limit:
        return np.arange(n)
    edges = np.linspace(1, n - 1, (limit - 2) // 2 + 1).astype(np.intp)
    chosen: list[Any] = [np.array([0, n - 1])]
    # Sentinels keep NaN out of both searches.
    low, high = np.where(np.isnan(values), np.inf, values), np.where(np.isnan(values), -np.inf, values)
    for start, stop in itertools.pairwise(edges):
        chosen.append(np.array([start + np.argmin(low[start:stop]), start + np.argmax(high[start:stop])]))
    return np.unique(np.concatenate(chosen))
