"""Importing TensorBoard's event files, beside the reader that TensorBoard itself has."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Bar, Benchmark, Measured, Side, answer_of, points
from benchmarks.stores import store

KEYS = 10
START = 1_700_000_000.0


def _events(n: int) -> list[bytes]:
    """Events of one scalar each, as PyTorch's writer makes them, without their frames."""
    beginning = struct.pack("<Bd", 0x09, START)
    tags = [f"m{k}".encode() for k in range(KEYS)]
    found = []
    for step, value in enumerate(points(n)):
        tag = tags[step % KEYS]
        scalar = b"\x0a" + bytes([len(tag)]) + tag + struct.pack("<Bf", 0x15, value)
        summary = b"\x0a" + bytes([len(scalar)]) + scalar
        found.append(beginning + b"\x10" + _varint(step) + b"\x2a" + bytes([len(summary)]) + summary)
    return found


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _sums(texts: Sequence[bytes]) -> list[bytes]:
    """The masked CRC-32C of each text, as frames have it: byte by byte, of all texts at once."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0x82F63B78), table >> 1)
    lengths = np.array([len(text) for text in texts])
    longest = int(lengths.max())
    padded = np.frombuffer(b"".join(text.ljust(longest, b"\0") for text in texts), np.uint8).reshape(-1, longest)
    crc = np.full(len(texts), 0xFFFFFFFF, np.uint32)
    for place in range(longest):
        following = table[(crc ^ padded[:, place]) & 0xFF] ^ crc >> np.uint32(8)
        crc = np.where(place < lengths, following, crc)
    crc = ~crc
    masked = (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(0xA282EAD8)
    return [struct.pack("<I", each) for each in masked.tolist()]


def _make(folder: Path, n: int) -> None:
    events = _events(n)
    heads = [struct.pack("<Q", len(event)) for event in events]
    folder.mkdir(parents=True)
    with (folder / "events.out.tfevents.1700000000.bench").open("wb") as file:
        for head, head_sum, event, event_sum in zip(heads, _sums(heads), events, _sums(events), strict=True):
            file.write(head + head_sum + event + event_sum)


def _folder(place: Path, n: int) -> Path:
    return store(f"events-{n}", place, lambda folder: _make(folder, n))


def _answer(n: int, steps: Any, values: Any) -> tuple[int, float, int]:
    """The nominal sum where each value is the one that was written, to the precision that such files have."""
    written = np.array(points(n), np.float32)
    is_same = bool(np.array_equal(written[np.asarray(steps)], np.asarray(values, np.float32)))
    return answer_of(len(steps), sum(points(n)) if is_same else float("nan"), int(max(steps)))


def ours(place: Path, n: int) -> Measured:
    """`import_`: every point committed to the tables."""
    import mlwarehouse as mlw

    folder = _folder(place, n)
    warehouse = mlw.set_warehouse(place / "wh", committer="off", system_metrics_s=0)
    warehouse.create()
    warehouse.engine()
    began = time.perf_counter()
    report = warehouse.import_(folder)
    took = time.perf_counter() - began
    assert report.added["points"] == n
    found = warehouse.engine().query("SELECT step, value FROM metrics")
    answer = _answer(n, found.column("step").to_numpy(), found.column("value").to_numpy())
    warehouse.close()
    return Measured(n / took, answer)


def tensorboard(place: Path, n: int) -> Measured:
    """TensorBoard's own reader: every point in memory."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = _folder(place, n)
    began = time.perf_counter()
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    found = [each for k in range(KEYS) for each in events.Scalars(f"m{k}")]
    took = time.perf_counter() - began
    return Measured(n / took, _answer(n, [each.step for each in found], [each.value for each in found]))


BENCHMARK = Benchmark(
    name="import_events",
    what="importing an event file of TensorBoard's with 1 M points",
    unit="points/s",
    is_better_low=False,
    us=Side("mlwarehouse `import_`, committed", ours, 1_000_000),
    others=(Side("TensorBoard's event reader, in memory", tensorboard, 200_000),),
    bar=Bar("≥ 10×", lambda value, best: value >= 10 * best),
)
