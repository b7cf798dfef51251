"""Signals that come while something is logged: nothing stays locked, and what their handlers log is kept too."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.ingest import spool_writer
from mlwarehouse.ingest.drain import Drain
from mlwarehouse.ingest.spool_writer import SpoolWriter


def interrupted(real):
    """A function that does its work, and then meets Ctrl-C: the signal's handler runs when the call is over."""
    calls = []

    def function(*arguments, **options):
        result = real(*arguments, **options)
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return result

    return function


@pytest.mark.parametrize("put", ["point", "points"])
def test_ctrl_c_right_after_the_lock_was_taken_leaves_it_free(folder, put):
    writer = SpoolWriter(folder)
    series = writer.series_map()
    writer._acquire = interrupted(writer._acquire)
    log = {
        "point": lambda: writer.put_point(series, "x", ("a", 0), 1, 1.0, 1),
        "points": lambda: writer.put_points(series, [("x", 1.0)], ("a", 0), 1, 1),
    }
    with pytest.raises(KeyboardInterrupt):
        log[put]()
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(writer._lock.acquire, timeout=5).result()


@pytest.mark.parametrize("room", [None, 1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_a_signals_handler_may_log_in_the_middle_of_logging(folder, monkeypatch, room, seed):
    moments = set(random.Random(seed).sample(range(14), 5))
    writer = SpoolWriter(folder)
    series = writer.series_map()
    writer.put_point(series, "x", ("a", 0), 0, 0.0, 1)
    steps, real, depth, turns = iter(range(1000, 2000)), spool_writer._crc32, [0], itertools.count()

    def handled(data, start=0):
        # The handler runs between two instructions of whatever was going on; here after some check sums.
        result = real(data, start)
        if not depth[0] and next(turns) in moments:
            depth[0] += 1
            writer.put_point(series, "x", ("a", 0), next(steps), 0.0, 1)
            writer.put_rows("param_events", {"run_id": "a", "attempt": 0}, ["key", "value"], [["k", "v"]])
            depth[0] -= 1
        return result

    if room is not None:
        # The handler's records, or ours, then begin a new segment.
        writer._limit = writer._index + room
    monkeypatch.setattr(spool_writer, "_crc32", handled)
    writer.put_point(series, "x", ("a", 0), 1, 0.0, 1)
    writer.put_points(series, [("x", 0.0), ("new", 0.0)], ("a", 0), 2, 1)
    writer.put_rows("param_events", {"run_id": "a", "attempt": 0}, ["key", "value"], [["mine", "v"]])
    monkeypatch.undo()
    n_handled = next(steps) - 1000
    assert n_handled >= 2
    writer.close()
    drain = Drain(folder, engine := EmbeddedEngine(folder.path / "tables"))
    while drain.step().n_rows:
        pass
    points = Counter((r["key"], r["step"]) for r in engine.query("SELECT key, step FROM metrics").to_pylist())
    expected = [("x", 0), ("x", 1), ("x", 2), ("new", 2), *(("x", 1000 + n) for n in range(n_handled))]
    assert points == Counter(expected)
    params = Counter(r["key"] for r in engine.query("SELECT key FROM param_events").to_pylist())
    assert params == {"k": n_handled, "mine": 1}
    engine.close()
