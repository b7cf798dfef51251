"""TFRecord files: frames with check sums, all of a file at once.

A frame is a length (8 bytes, little-endian), the length's check sum, the data, and the data's check sum. The sums are
CRC-32C, rotated and shifted, as in
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/lib/hash/crc32c.h. No library of ours has CRC-32C,
so it is computed here, on 64 bytes of all frames in parallel; sums of pieces are joined by the rule that the CRC is
linear.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

LANE = 64
"""Bytes that are summed up together."""

CHECKED_BYTES = 64 * 1024
"""Longer data isn't checked: only pictures and graphs are that long."""

MAX_BYTES = 1 << 40

_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Sums = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Frames:
    """The frames of a file.

    Attributes:
        starts: Where the data of each begins.
        lengths: How long it is.
        damaged: Where frames begin whose data was changed; they are left out.
        end: Where the last whole frame ends.
        trouble: Why nothing behind `end` was read; None where it is the end of the file.
    """

    starts: Ints
    lengths: Ints
    damaged: list[int]
    end: int
    trouble: str | None


def frames(content: Bytes) -> Frames:
    """Take a file apart.

    Args:
        content: Its bytes.
    """
    size = len(content)
    view = content.data
    starts, lengths = [], []
    place, trouble = 0, None
    unpack = struct.Struct("<Q").unpack_from
    while place < size:
        if place + 12 > size:
            trouble = "the last frame is cut off"
            break
        (length,) = unpack(view, place)
        if length > MAX_BYTES or place + 16 + length > size:
            trouble = "the last frame is cut off"
            break
        starts.append(place + 12)
        lengths.append(length)
        place += 16 + length
    begins, sizes = np.array(starts, np.int64), np.array(lengths, np.int64)
    is_good = _masked(_crc(content, begins - 12, np.full(len(begins), 8))) == _stored(content, begins - 4)
    if not is_good.all():
        first = int(np.argmin(is_good))
        place = starts[first] - 12
        begins, sizes = begins[:first], sizes[:first]
        trouble = "the next frame's length was changed, or isn't written yet"
    elif trouble is not None and place + 12 <= size:
        # A length that leads beyond the end may also be a damaged one.
        head = np.array([place], np.int64)
        if _masked(_crc(content, head, np.full(1, 8)))[0] != _stored(content, head + 8)[0]:
            trouble = "the next frame's length was changed, or isn't written yet"
    short = sizes <= CHECKED_BYTES
    is_whole = np.ones(len(begins), bool)
    is_whole[short] = _masked(_crc(content, begins[short], sizes[short])) == _stored(
        content, begins[short] + sizes[short]
    )
    damaged = (begins[~is_whole] - 12).tolist()
    return Frames(begins[is_whole], sizes[is_whole], damaged, place, trouble)


def masked_crc(data: bytes) -> int:
    """The sum of data as it stands in a frame."""
    content = np.frombuffer(data, np.uint8)
    return int(_masked(_crc(content, np.zeros(1, np.int64), np.full(1, len(data))))[0])


def _stored(content: Bytes, places: Ints) -> Sums:
    at = content[places[:, None] + np.arange(4)].astype(np.uint32)
    return np.asarray(at[:, 0] | at[:, 1] << 8 | at[:, 2] << 16 | at[:, 3] << 24, np.uint32)


def _masked(crc: Sums) -> Sums:
    return np.asarray(((crc >> 15) | (crc << np.uint32(17))) + np.uint32(_MASK_DELTA), np.uint32)


@cache
def _table() -> Sums:
    """The sum of each byte."""
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.asarray((crc >> 1) ^ np.where(crc & 1, np.uint32(_POLYNOMIAL), np.uint32(0)), np.uint32)
    return crc


@cache
def _behind_a_lane() -> Sums:
    """What becomes of each byte of a sum, of shape [4, 256], when a lane of zeros follows."""
    crc = (np.arange(256, dtype=np.uint32)[None, :] << (8 * np.arange(4, dtype=np.uint32))[:, None]).astype(np.uint32)
    for _ in range(LANE):
        crc = _table()[crc & 0xFF] ^ (crc >> 8)
    return crc


@cache
def _beginnings() -> Sums:
    """What the first sum, all ones, has become behind n bytes."""
    found = np.empty(CHECKED_BYTES + 1, np.uint32)
    table = _table().tolist()
    crc = 0xFFFFFFFF
    for n in range(CHECKED_BYTES + 1):
        found[n] = crc
        crc = table[crc & 0xFF] ^ (crc >> 8)
    return found


def _crc(content: Bytes, starts: Ints, lengths: Ints) -> Sums:
    """CRC-32C of stretches."""
    if not len(starts):
        return np.zeros(0, np.uint32)
    if not len(content):
        content = np.zeros(1, np.uint8)
    n_lanes = np.maximum(-(-lengths // LANE), 1)
    first_lane = np.cumsum(n_lanes) - n_lanes
    of = np.repeat(np.arange(len(starts)), n_lanes)
    # Zeros before the data change nothing, so that each stretch ends with its last lane.
    lane_starts = (starts + lengths)[of] - (n_lanes[of] - (np.arange(len(of)) - first_lane[of])) * LANE
    begins = starts[of]
    table, crc = _table(), np.zeros(len(of), np.uint32)
    for n in range(LANE):
        places = lane_starts + n
        inside = places >= begins
        byte = np.where(inside, content.take(places, mode="clip"), 0).astype(np.uint32)
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    whole = crc[first_lane]
    behind = _behind_a_lane()
    left = np.flatnonzero(n_lanes > 1)
    for n in range(1, int(n_lanes.max())):
        left = left[n_lanes[left] > n]
        some = whole[left]
        moved = (
            behind[0][some & 0xFF] ^ behind[1][some >> 8 & 0xFF] ^ behind[2][some >> 16 & 0xFF] ^ behind[3][some >> 24]
        )
        whole[left] = moved ^ crc[first_lane[left] + n]
    return np.asarray(whole ^ _beginnings()[lengths] ^ np.uint32(0xFFFFFFFF), np.uint32)
