"""All points of many runs, in order.

Millions of rows are sorted best by not sorting them: files hold them by run, key and step, so what comes from the
engine as it lies there is in blocks that are in order already. Runs travel as numbers, for that and because making five
million texts of thirty-two characters takes longer than everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.arrays import one_array
from mlwarehouse.engines.base import Engine, Reading

MOST = 2**63
"""Where whole numbers end."""

Ints = np.ndarray[Any, np.dtype[np.int64]]


def load_points(
    engine: Engine, reading: Reading | None, *, source: str, runs: str, where: str, parameters: Mapping[str, Any]
) -> pa.Table:
    """Every point of some runs.

    Args:
        engine: Answers the questions.
        reading: The state to look at.
        source: The table or view of points.
        runs: A query for the runs' ids, as ``run_id``, in SQL; each once.
        where: The condition on points, with ``WHERE``; or nothing.
        parameters: Values for the marks in `runs` and `where`.

    Returns:
        A row per point, sorted by ``run_id``, ``key``, ``step``, ``timestamp``, ``context`` and ``value``. Columns:
        ``run_id``, ``key`` (dictionary-encoded text), ``step``, ``value``, ``timestamp``, ``context``, ``attempt``.
    """
    inside = {name: value for name, value in parameters.items() if f"${name}" in runs}
    ids = engine.query(f"SELECT run_id FROM ({runs}) AS chosen ORDER BY run_id", reading=reading, parameters=inside)
    rows = engine.query(
        f"WITH chosen AS (SELECT run_id, ROW_NUMBER() OVER (ORDER BY run_id) - 1 AS number FROM ({runs}) AS chosen) "
        f"SELECT chosen.number, key, step, value, event_at AS timestamp, context, attempt FROM {source} AS points "
        f"INNER JOIN chosen ON chosen.run_id = points.run_id{where}",
        reading=reading,
        parameters=parameters,
    )
    numbers = one_array(rows.column("number"))
    keys = one_array(rows.column("key")).dictionary_encode()
    columns = {
        "run_id": pa.DictionaryArray.from_arrays(numbers, one_array(ids.column("run_id"))),
        "key": keys,
        **{name: rows.column(name) for name in ("step", "value", "timestamp", "context", "attempt")},
    }
    table = pa.table(columns)
    order = _order(table, numbers.to_numpy(), _ranks(keys))
    return table if order is None else table.take(pa.array(order))


def _ranks(words: pa.DictionaryArray) -> Ints:
    """For each row the place of its text among all texts in order; 0 where there is none."""
    ranks = np.argsort(np.argsort(np.array([*words.dictionary.to_pylist(), ""], dtype=object)[:-1]))
    found: Ints = np.append(ranks + 1, 0)[pc.fill_null(words.indices, len(ranks)).to_numpy()]
    return found


def _order(table: pa.Table, numbers: Ints, ranks: Ints) -> Ints | None:
    """How to sort the rows; None where they are in order."""
    if not len(numbers):
        return None
    steps = table.column("step").to_numpy()
    first = int(steps.min())
    n_steps = int(steps.max()) - first + 1
    n_keys = int(ranks.max()) + 1
    if (int(numbers.max()) + 1) * n_keys * n_steps < MOST:
        place = (numbers * n_keys + ranks) * n_steps + (steps - first)
        if _is_increasing(place):
            return None
        # Nearly in order, as files are: this merges what is.
        order: Ints = np.argsort(place, kind="stable")
        if _is_increasing(place[order]):
            return order
    contexts = _ranks(one_array(table.column("context")).dictionary_encode())
    times = table.column("timestamp").cast(pa.int64()).to_numpy()
    return np.lexsort((table.column("value").to_numpy(), contexts, times, steps, ranks, numbers))


def _is_increasing(places: Ints) -> bool:
    return bool(np.all(places[1:] > places[:-1]))
