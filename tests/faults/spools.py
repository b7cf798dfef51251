"""Reading back what a spool holds."""

from __future__ import annotations

from typing import Any

from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_reader import SegmentReader, Slots

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
