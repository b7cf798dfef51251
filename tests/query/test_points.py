"""Points that come from files in blocks are put in order, whatever the blocks are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mlwarehouse.query import points


def made(rows: list[tuple[int, int, int, int]]) -> pa.Table:
    """Points by run, key, step and time; their values tell where they were."""
    numbers, keys, steps, times = (pa.array(column, pa.int64()) for column in zip(*rows, strict=True))
    return pa.table(
        {
            "number": numbers,
            "key": keys,
            "step": steps,
            "value": pa.array(range(len(rows)), pa.float64()),
            "timestamp": times.cast(pa.timestamp("us", "UTC")),
            "context": pa.nulls(len(rows), pa.string()),
            "attempt": pa.nulls(len(rows), pa.int64()),
        }
    )


@given(data=st.data())
def test_rows_are_in_order_whichever_way_threads_took_turns(data):
    n_steps, every = data.draw(st.integers(1, 300)), data.draw(st.sampled_from([1, 7]))
    curves = [(run, key) for run in range(data.draw(st.integers(1, 4))) for key in range(data.draw(st.integers(1, 2)))]
    rows = [(run, key, every * step, 0) for run, key in curves for step in range(n_steps)]
    again = data.draw(st.integers(0, 2))
    rows += [(run, key, step, 1) for run, key, step, _ in rows[:again]]
    # Vectors of some rows each, those of two threads in any order.
    size = data.draw(st.integers(1, 200))
    vectors = [rows[i : i + size] for i in range(0, len(rows), size)]
    order = data.draw(st.permutations(range(len(vectors))))
    table = made([row for i in order for row in vectors[i]])
    found = points.in_order(table, np.array(table.column("key")))
    assert found.num_rows == len(rows)
    names = ["number", "key", "step", "timestamp"]
    assert found.select(names).equals(table.sort_by([(n, "ascending") for n in names]).select(names))
    # Each row is still the row that it was.
    assert table.take(found.column("value").cast(pa.int64())).equals(found)


def test_whole_blocks_are_moved_and_no_rows():
    rows = [(run, 0, step, 0) for run in range(8) for step in range(2000)]
    # Two threads take turns, and where one goes on it may be in the middle of a curve.
    vectors = [rows[i : i + 1024] for i in range(0, len(rows), 1024)]
    half = len(vectors) // 2
    turns = [v for pair in zip(vectors[:half], vectors[half:], strict=False) for v in pair] + vectors[2 * half :]
    table = made([row for vector in turns for row in vector])
    assert points.in_order(table, np.array(table.column("key"))).column("step").num_chunks > 1
