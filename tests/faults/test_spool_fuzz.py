"""A damaged segment of 64 KiB: whatever the damage, reading gives the exact prefix before it and never an exception."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_format import HEADER_SLOTS, SLOT
from mlwarehouse.ingest.spool_reader import SegmentReader, Slots
from mlwarehouse.ingest.spool_writer import SpoolWriter
from tests.faults.conftest import SOAK
from tests.faults.spools import RUN, contents

SEED = 20_261_121
SIZE = 64 * 1024
HEADER = HEADER_SLOTS * SLOT

STEP_OF_TRUNCATIONS = 1 if SOAK else 53
STEP_OF_FLIPS = 1 if SOAK else 397
MUTATIONS = 1_000_000 if SOAK else 1_000


class Original:
    """An undamaged segment.

    Attributes:
        data: Its bytes.
        whole: What it holds, in order, and beside it as a reader gives it.
        ends: For each of `whole`, the offset behind its bytes, without the padding of a payload.
    """

    def __init__(self, place: Path) -> None:
        folder = SpoolFolder(place)
        folder.create()
        writer = SpoolWriter(folder)
        series = writer.series_map()
        draw = random.Random(SEED)
        step = 0
        while writer._index * SLOT < SIZE - 1024:
            writer.put_point(series, f"metric {draw.randrange(40)}", RUN, step, draw.gauss(0, 1), step)
            if draw.random() < 0.02:
                rows = [[f"k{step}-{i}", "v" * draw.randrange(90)] for i in range(draw.randrange(1, 5))]
                writer.put_rows("param_events", {"run_id": "a"}, ["key", "value"], rows, time_us=step)
            step += 1
        writer.close()
        (path,) = folder.segments()
        self.data = path.read_bytes()
        stretch = SegmentReader(path).read(0)
        assert stretch is not None
        self.points = stretch.points.tobytes()
        self.point_seqs = stretch.seqs
        self.records = stretch.records
        self.record_seqs = [r.seq for r in stretch.records]
        self.series = stretch.series
        self.whole = contents(stretch)
        self.ends = []
        for seq, what in self.whole:
            head = self.data[seq * SLOT : (seq + 1) * SLOT]
            length = int.from_bytes(head[8:16], "little") if len(what) == 3 else 0
            self.ends.append((seq + 1) * SLOT + length)

    def length_of_prefix(self, stretch: Slots) -> int:
        """How many items a stretch has, after a look that they are the first ones of the whole, unchanged."""
        end = stretch.first_seq + stretch.end
        n_points, n_records = int(np.searchsorted(self.point_seqs, end)), bisect(self.record_seqs, end - 1)
        assert stretch.points.tobytes() == self.points[: n_points * SLOT]
        assert np.array_equal(stretch.seqs, self.point_seqs[:n_points])
        assert stretch.records == self.records[:n_records]
        assert all(self.series[number] == name for number, name in stretch.series.items())
        assert set(np.unique(stretch.points["series"]).tolist()) <= stretch.series.keys()
        return n_points + n_records


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Original:
    made = Original(tmp_path_factory.mktemp("original"))
    assert len(made.data) > SIZE - 2048
    assert len(made.whole) > 1500
    return made


@pytest.fixture
def read(tmp_path):
    path = tmp_path / "0123456789abcdef-0000000000000000.seg"

    def read(data: bytes) -> Slots | None:
        path.write_bytes(data)
        return SegmentReader(path).read(0)

    return read


def damages(original: Original) -> Iterator[tuple[str, int, bytes]]:
    """Damaged copies: what was done, the offset of the first changed byte, the bytes."""
    data = original.data
    draw = random.Random(SEED)
    for length in range(0, len(data), STEP_OF_TRUNCATIONS):
        yield f"cut at {length}", length, data[:length]
        yield f"zeros from {length}", length, data[:length] + bytes(512)
        yield f"cut at {length}, allocated", length, data[:length].ljust(SIZE, b"\0")
    for bit in range(0, 8 * len(data), STEP_OF_FLIPS):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit}", bit // 8, bytes(flipped)
    for number in range(MUTATIONS):
        changed = bytearray(data)
        places = []
        for _ in range(draw.randrange(1, 4)):
            at, n = draw.randrange(len(data)), draw.choice((1, 2, 4, 8, 32, 33, 512))
            n = min(n, len(data) - at)
            kind = draw.randrange(5)
            if kind == 0:
                changed[at : at + n] = draw.randbytes(n)
            elif kind == 1:
                changed[at : at + n] = bytes(n)
            elif kind == 2:
                changed[at : at + n] = b"\xff" * n
            elif kind == 3:
                # Bytes of another place, slot for slot: right by themselves, wrong here.
                other = draw.randrange(len(data) // SLOT) * SLOT
                at = at // SLOT * SLOT
                piece = data[other : other + 32 * draw.randrange(1, 20)][: len(data) - at]
                changed[at : at + len(piece)] = piece
            else:
                del changed[at : at + n]
            places.append(at)
        yield f"mutation {number} at {places}", min(places), bytes(changed)


def test_whatever_the_damage_what_is_read_is_the_exact_prefix_before_it(original, read):
    n_cases = 0
    ends = [-(-end // SLOT) * SLOT for end in original.ends]
    for what, first_changed, data in damages(original):
        n_cases += 1
        try:
            stretch = read(data)
            n_found = 0 if stretch is None else original.length_of_prefix(stretch)
            # What ends before the first changed byte isn't touched by it; all of it has to be there.
            assert n_found >= (bisect(ends, first_changed) if first_changed >= HEADER else 0)
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
    print(f"{n_cases} cases, seed {SEED}")
    assert n_cases >= MUTATIONS


def test_the_prefix_is_no_longer_than_what_is_whole(original, read):
    """A cut in the middle of a record takes the record; zeros behind it don't bring it back."""
    draw = random.Random(SEED)
    for _ in range(2000 if SOAK else 100):
        index = draw.randrange(len(original.ends))
        end = original.ends[index]
        # A byte that isn't zero already, so that the record differs without it.
        last = next(i for i in range(end - 1, end - SLOT, -1) if original.data[i])
        for data in (original.data[:last], original.data[:last].ljust(SIZE, b"\0")):
            stretch = read(data)
            assert stretch is not None
            assert contents(stretch) == original.whole[:index]
