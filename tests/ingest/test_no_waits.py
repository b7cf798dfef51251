"""Logging neither grows with the run nor waits for anybody."""

from __future__ import annotations

import os
import threading
import tracemalloc

from mlwarehouse.ingest import spool_place
from mlwarehouse.ingest.keeper import Keeper
from mlwarehouse.ingest.spool_reader import SegmentReader
from mlwarehouse.ingest.spool_writer import SpoolWriter


def test_memory_does_not_grow_with_the_run(warehouse):
    with warehouse.start_run(experiment="long") as run:

        def log(n: int, first: int) -> None:
            for step in range(first, first + n):
                run.log_metrics({"a": step, "b": step / 2}, step)

        # Past the first segments, so that their number of bytes has reached its largest.
        log(500_000, 0)
        tracemalloc.start()
        log(1000, 500_000)
        before, _ = tracemalloc.get_traced_memory()
        log(500_000, 501_000)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # A million points later; one of them would take 32 bytes.
    assert after - before < 20_000


def test_no_call_waits_for_the_disk(folder, monkeypatch):
    monkeypatch.setattr(spool_place, "FIRST_SEGMENT", 4096)
    monkeypatch.setattr(spool_place, "LARGEST_SEGMENT", 16384)
    is_syncing, may_go_on = threading.Event(), threading.Event()

    def slow(fd: int) -> None:
        is_syncing.set()
        assert may_go_on.wait(30)

    monkeypatch.setattr(os, "fdatasync", slow)
    writer = SpoolWriter(folder)
    series = writer.series_map()
    writer.put_point(series, "x", ("r", 0), 0, 0.0, 1)
    keeper = Keeper(
        writer,
        does_sync=True,
        heartbeat_s=60,
        send_heartbeats=lambda: None,
        retry_artifacts=lambda: None,
        see_to_committer=lambda: None,
    )
    try:
        assert is_syncing.wait(10)
        # The disk hangs in a sync: points, rows and new series are taken all the same.
        for step in range(1, 1000):
            writer.put_point(series, "x", ("r", 0), step, 0.0, 1)
        writer.put_point(series, "y", ("r", 0), 0, 0.0, 1)
        writer.put_rows("param_events", {"run_id": "r", "attempt": 0}, ["key", "value"], [["k", "v"]])
        # Several segments were filled, and what is in them is read all the same.
        assert len(folder.segments()) > 2
        stretches = [SegmentReader(path).read(0) for path in folder.segments()]
        assert sum(len(s.points) for s in stretches if s is not None) == 1001
        assert not any(SegmentReader(path).is_finished() for path in folder.segments())
        assert not may_go_on.is_set()
    finally:
        may_go_on.set()
        keeper.stop()
    monkeypatch.undo()
    writer.close()
    assert all(SegmentReader(path).is_finished() for path in folder.segments())
