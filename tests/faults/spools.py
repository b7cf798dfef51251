"""Logging to a spool, and reading back what it holds."""

from __future__ import annotations

from typing import Any

import pytest

from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_reader import SegmentReader, Slots
from mlwarehouse.ingest.spool_writer import SpoolWriter

RUN = ("a" * 32, 0)


def contents(stretch: Slots) -> list[tuple[int, Any]]:
    """A stretch as sequence number and what: (series, step, value, time) of a point or (kind, payload, time)."""
    found = [
        (seq, (stretch.series[point[1]], point[2], point[3], point[4]))
        for seq, point in zip(stretch.seqs.tolist(), stretch.points.tolist(), strict=True)
    ]
    found.extend((r.seq, (r.kind, r.payload, r.time_us)) for r in stretch.records)
    return sorted(found, key=lambda item: item[0])


def everything(folder: SpoolFolder) -> list[Any]:
    """All that a spool of one writer holds, in the order written."""
    found = []
    for path in folder.segments():
        stretch = SegmentReader(path).read(0)
        assert stretch is not None
        found.extend(contents(stretch))
    return [what for _, what in sorted(found, key=lambda item: item[0])]


def steps(folder: SpoolFolder) -> list[int]:
    """The steps of all points, in the order written."""
    return [what[1] for what in everything(folder) if len(what) == 4]


TOLD = "can't keep what is logged"
HEALED = "again, and what waited in memory is there"


class Log:
    """A writer that counts its points up; each call has to return."""

    def __init__(self, folder: SpoolFolder, **options: bool) -> None:
        self.folder = folder
        self.writer = SpoolWriter(folder, **options)
        self.series = self.writer.series_map()
        self.n = 0

    def __call__(self, n: int) -> None:
        for _ in range(n):
            self.writer.put_point(self.series, f"m{self.n % 3}", RUN, self.n, self.n / 2, 1)
            self.n += 1

    def expect_all(self) -> None:
        assert steps(self.folder) == list(range(self.n))
        assert self.writer.dropped == 0


def heal(log: Log) -> None:
    """What the keeper does each second."""
    with pytest.warns(RuntimeWarning, match=HEALED):
        log.writer.heal()
