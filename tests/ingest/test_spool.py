"""The spool's file format: what was written comes back, and whatever damage leaves is an exact prefix."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.ingest import spool_place
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_format import HEADER_SLOTS, SLOT, SegmentHeader, slot_crc
from mlwarehouse.ingest.spool_reader import SegmentReader, slot_crcs
from mlwarehouse.ingest.spool_writer import SpoolWriter

RUN = ("a" * 32, 0)


def everything(folder: SpoolFolder) -> list[tuple]:
    """All that a spool holds, in the order written: (seq, what)."""
    found = []
    for path in folder.segments():
        stretch = SegmentReader(path).read(0)
        assert stretch is not None
        for seq, point in zip(stretch.seqs.tolist(), stretch.points.tolist(), strict=True):
            found.append((seq, (stretch.series[point[1]], *point[2:])))
        found.extend((r.seq, (r.kind, r.payload, r.time_us)) for r in stretch.records)
    return sorted(found, key=lambda item: item[0])


points = st.tuples(
    st.sampled_from(["loss", "acc", "π/ρ", "a key with spaces"]),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.integers(0, 2**50),
)
rows = st.lists(st.tuples(st.text(max_size=40), st.text(max_size=200)), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(points | rows, max_size=60))
def test_what_is_written_comes_back_in_order(tmp_path_factory, items):
    folder = SpoolFolder(tmp_path_factory.mktemp("spool"))
    folder.create()
    writer = SpoolWriter(folder)
    series = writer.series_map()
    expected = []
    for item in items:
        if isinstance(item, tuple):
            key, step, value, time_us = item
            writer.put_point(series, key, RUN, step, value, time_us)
            expected.append(((*RUN, key, None), step, value, time_us))
        else:
            writer.put_rows("param_events", {"run_id": "a"}, ["key", "value"], item, time_us=7)
            expected.append((2, ["param_events", {"run_id": "a"}, ["key", "value"], [list(r) for r in item]], 7))
    assert [what for _, what in everything(folder)] == expected
    writer.close()
    assert [what for _, what in everything(folder)] == expected
    seqs = [seq for seq, _ in everything(folder)]
    assert seqs == sorted(set(seqs))


def test_segments_roll_over_and_declare_their_series_anew(folder, monkeypatch):
    monkeypatch.setattr(spool_place, "FIRST_SEGMENT", 4096)
    monkeypatch.setattr(spool_place, "LARGEST_SEGMENT", 8192)
    writer = SpoolWriter(folder)
    series = writer.series_map()
    for step in range(2000):
        writer.put_point(series, f"m{step % 7}", RUN, step, step / 2, step)
    writer.put_rows("tag_events", {"run_id": "a"}, ["key", "value"], [["note", "x" * 50_000]], time_us=1)
    writer.put_point(series, "m0", RUN, 2000, 1.0, 2000)
    found = [what for _, what in everything(folder)]
    assert len(folder.segments()) > 5
    assert [(what[0][2], what[1]) for what in found if len(what) == 4] == [
        *((f"m{s % 7}", s) for s in range(2000)),
        ("m0", 2000),
    ]
    assert found[2000][1][3] == [["note", "x" * 50_000]]


@pytest.fixture(scope="module")
def small_segment(tmp_path_factory) -> tuple[bytes, list[tuple]]:
    folder = SpoolFolder(tmp_path_factory.mktemp("small"))
    folder.create()
    writer = SpoolWriter(folder)
    series = writer.series_map()
    for step in range(12):
        writer.put_point(series, "loss", RUN, step, step / 3, step)
        if step % 4 == 3:
            writer.put_rows("param_events", {"run_id": "a"}, ["key", "value"], [[f"k{step}", "v" * step]], time_us=step)
    writer.close()
    (path,) = folder.segments()
    return path.read_bytes(), everything(folder)


def read_bytes(folder: Path, data: bytes) -> list[tuple]:
    spool = SpoolFolder(folder)
    spool.segments_path.mkdir(exist_ok=True, parents=True)
    (spool.segments_path / "x-0.seg").write_bytes(data)
    return everything(spool)


def test_every_truncation_leaves_an_exact_prefix(tmp_path, small_segment):
    data, whole = small_segment
    for length in range(HEADER_SLOTS * SLOT, len(data)):
        for tail in (b"", bytes(512)):
            found = read_bytes(tmp_path, data[:length] + tail)
            assert found == whole[: len(found)]
            complete = sum(1 for seq, what in whole if _end_of(seq, what) * SLOT <= length)
            # A slot that ends in zeros is whole again when zeros stand behind the cut.
            assert len(found) == complete or (tail and len(found) == complete + 1)


def _end_of(seq: int, what: tuple) -> int:
    """Index of the first slot behind something, in a segment that begins at sequence number 0."""
    if len(what) == 4:
        return seq + 1
    import json

    payload = json.dumps(what[1], separators=(",", ":"), ensure_ascii=False).encode()
    return seq + 1 + -(-len(payload) // SLOT)


def test_every_bit_flip_leaves_an_exact_prefix(tmp_path, small_segment):
    data, whole = small_segment
    draw = random.Random(5)
    for position in range(HEADER_SLOTS * SLOT, len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << draw.randrange(8)
        found = read_bytes(tmp_path, bytes(damaged))
        # Padding behind a payload isn't covered, and doesn't matter.
        assert found == whole[: len(found)]


def test_a_slot_of_another_place_or_file_is_not_valid():
    body = bytes(range(28))
    assert slot_crc(body, 5, 1) != slot_crc(body, 5, 2)
    assert slot_crc(body, 5, 1) != slot_crc(body, 6, 1)


@given(
    seed=st.integers(0, 2**32 - 1), first=st.integers(0, 2**20), n=st.integers(1, 50), noise=st.integers(0, 2**32 - 1)
)
def test_vectorised_checksums_are_zlibs(seed, first, n, noise):
    slots = np.random.default_rng(noise).integers(0, 256, (n, SLOT), dtype=np.uint8)
    expected = [slot_crc(slots[i, 4:].tobytes(), seed, first + i) for i in range(n)]
    assert slot_crcs(slots, seed, first).tolist() == expected


def test_zeros_are_no_records(tmp_path):
    header = SegmentHeader("0" * 16, 0, 0, 1, 1).pack()
    assert read_bytes(tmp_path, header + bytes(4096)) == []


@pytest.mark.parametrize(
    ("value", "step", "message"),
    [
        ("high", 1, "`loss` got the value 'high' of type str; a metric's value is a number"),
        (None, 1, "of type NoneType; a metric's value is a number"),
        (1.0, 1.5, "got the step 1.5 of type float; a step is a whole number"),
        (1.0, 2**63, "a step is a whole number of 64 bits"),
    ],
)
def test_what_is_not_a_point_is_refused_and_nothing_is_kept(folder, value, step, message):
    writer = SpoolWriter(folder)
    series = writer.series_map()
    with pytest.raises(InvalidInputError, match=message):
        writer.put_point(series, "loss", RUN, step, value, 1)
    writer.put_point(series, "loss", RUN, 1, 1.0, 1)
    assert len(everything(folder)) == 1


def test_a_folder_that_refuses_is_told_once_and_training_goes_on(folder):
    writer = SpoolWriter(folder)
    series = writer.series_map()
    folder.segments_path.rmdir()
    folder.segments_path.write_text("in the way")
    with pytest.warns(RuntimeWarning, match="can't keep what is logged"):
        writer.put_point(series, "loss", RUN, 0, 1.0, 1)
    for step in range(1, 11):
        writer.put_point(series, "loss", RUN, step, 1.0, 1)
    folder.segments_path.unlink()
    writer._outage.next_try = 0.0
    with pytest.warns(RuntimeWarning, match="again, and what waited in memory is there"):
        writer.put_point(series, "loss", RUN, 11, 1.0, 1)
    writer.put_point(series, "loss", RUN, 12, 1.0, 1)
    assert [what[1] for _, what in everything(folder)] == list(range(13))
    assert writer.dropped == 0


def test_points_of_one_step_cross_segments_and_stop_at_a_bad_value(folder, monkeypatch):
    monkeypatch.setattr(spool_place, "FIRST_SEGMENT", 4096)
    monkeypatch.setattr(spool_place, "LARGEST_SEGMENT", 4096)
    writer = SpoolWriter(folder)
    series = writer.series_map()
    for step in range(300):
        writer.put_points(series, [(f"m{k}", step + k / 10) for k in range(10)], RUN, step, step)
    with pytest.raises(InvalidInputError, match="`bad` got the value 'high'"):
        writer.put_points(series, [("m0", 1.0), ("bad", "high"), ("m1", 1.0)], RUN, 300, 300)
    writer.put_points(series, [("m1", 2.0)], RUN, 301, 301)
    found = [(what[0][2], what[1], what[2]) for _, what in everything(folder)]
    assert found == [
        *((f"m{k}", step, step + k / 10) for step in range(300) for k in range(10)),
        ("m0", 300, 1.0),
        ("m1", 301, 2.0),
    ]
    assert len(folder.segments()) > 20
