"""All points of many runs, in order.

Millions of rows are sorted best by not sorting them: files hold them by run, key and step, so what comes from the
engine as it lies there is in blocks that are in order already. Runs travel as numbers, for that and because making five
million texts of thirty-two characters takes longer than everything else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.arrays import one_array
from mlwarehouse.engines.base import Engine, Reading

MOST = 2**63
"""Where whole numbers end."""

LEAST_BLOCK = 64
"""Rows in a block, on average, from which on moving blocks is less work than moving rows."""

Ints = np.ndarray[Any, np.dtype[np.int64]]


def load_points(engine: Engine, reading: Reading | None, *, source: str, runs: str, where: str) -> pa.Table:
    """Every point of some runs.

    Args:
        engine: Answers the questions.
        reading: The state to look at.
        source: The table or view of points.
        runs: A query for the runs' ids, as ``run_id``, in SQL; each once.
        where: The condition on points, with ``WHERE``; or nothing.

    Returns:
        A row per point, sorted by ``run_id``, ``key``, ``step``, ``timestamp``, ``context`` and ``value``. Columns:
        ``run_id``, ``key`` (dictionary-encoded text), ``step``, ``value``, ``timestamp``, ``context``, ``attempt``.
    """
    ids = engine.query(f"SELECT run_id FROM ({runs}) AS chosen ORDER BY run_id", reading=reading)
    rows = engine.query(
        f"WITH chosen AS (SELECT run_id, ROW_NUMBER() OVER (ORDER BY run_id) - 1 AS number FROM ({runs}) AS chosen) "
        f"SELECT chosen.number, key, step, value, event_at AS timestamp, context, attempt FROM {source} AS points "
        f"INNER JOIN chosen ON chosen.run_id = points.run_id{where}",
        reading=reading,
    )
    keys = one_array(rows.column("key")).dictionary_encode()
    table = rows.drop_columns("key").append_column("key", keys.indices)
    table = in_order(table, _ranks(keys))
    return pa.table(
        {
            "run_id": _words(table.column("number"), one_array(ids.column("run_id"))),
            "key": _words(table.column("key"), keys.dictionary),
            **{name: table.column(name) for name in ("step", "value", "timestamp", "context", "attempt")},
        }
    )


def _words(numbers: pa.ChunkedArray, words: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(one_array(numbers), words)


def _ranks(words: pa.DictionaryArray) -> Ints:
    """For each row the place of its text among all texts in order; 0 where there is none."""
    ranks = np.argsort(np.argsort(np.array([*words.dictionary.to_pylist(), ""], dtype=object)[:-1]))
    found: Ints = np.append(ranks + 1, 0)[pc.fill_null(words.indices, len(ranks)).to_numpy()]
    return found


def in_order(table: pa.Table, ranks: Ints) -> pa.Table:
    """Sort the rows, given the place of each row's key among the keys."""
    if not table.num_rows:
        return table
    numbers, steps = (table.column(name).to_numpy() for name in ("number", "step"))
    first = int(steps.min())
    n_steps = int(steps.max()) - first + 1
    n_keys = int(ranks.max()) + 1
    if (int(numbers.max()) + 1) * n_keys * n_steps < MOST:
        place = (numbers * n_keys + ranks) * n_steps + (steps - first)
        blocks = _blocks(place)
        if blocks is not None:
            return pa.concat_tables([table.slice(start, stop - start) for start, stop in blocks])
        # Nearly in order, as files are: this merges what is.
        order: Ints = np.argsort(place, kind="stable")
        if np.all(np.diff(place[order]) > 0):
            return table.take(pa.array(order))
    contexts = _ranks(one_array(table.column("context")).dictionary_encode())
    times = table.column("timestamp").cast(pa.int64()).to_numpy()
    order = np.lexsort((table.column("value").to_numpy(), contexts, times, steps, ranks, numbers))
    return table.take(pa.array(order))


def _blocks(places: Ints) -> list[tuple[int, int]] | None:
    """Where the rows lie in blocks, each in order and none between another's rows: the blocks in order.

    Threads that read files leave such blocks, and to move whole blocks costs far less than to move rows. Where threads
    take turns a block may go on, from some row on, behind the rows of another thread: then its parts are blocks.
    """
    jumps = np.diff(places)
    falls = jumps <= 0
    for ends in (falls, falls | (jumps != np.append(1, jumps[:-1]))):
        starts = np.append(0, np.flatnonzero(ends) + 1)
        if len(starts) > len(places) // LEAST_BLOCK + 1:
            return None
        stops = np.append(starts[1:], len(places))
        by_first = np.argsort(places[starts])
        starts, stops = starts[by_first], stops[by_first]
        if np.all(places[starts[1:]] > places[stops[:-1] - 1]):
            return list(zip(starts.tolist(), stops.tolist(), strict=True))
    return None
