"""The reading end of a spool: checks and takes apart a segment's slots by vector operations, no loop per point."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlwarehouse.disk import is_locked
from mlwarehouse.ingest.spool_format import (
    HEADER_SLOTS,
    KIND_SERIES,
    RECORD,
    SLOT,
    SegmentHeader,
    payload_slots,
    slot_crc,
)

CHUNK_SLOTS = 1 << 15
"""How many slots are read and checked at a time: the tail of a segment is allocated and empty, and needn't be read."""

SLOT_DTYPE = np.dtype([("crc", "<u4"), ("series", "<u4"), ("step", "<i8"), ("value", "<f8"), ("time", "<i8")])

_BODY = SLOT - 4


def _crc_tables() -> npt.NDArray[np.uint32]:
    """Per body position and byte value, what that byte adds to the CRC-32 of a 28-byte body, shape [28, 256].

    A CRC is linear over XOR: the CRC of a body is that of zeros, XOR what each byte adds by itself.
    """
    import zlib

    zeros = zlib.crc32(bytes(_BODY))
    table = np.zeros((_BODY, 256), np.uint32)
    for position in range(_BODY):
        body = bytearray(_BODY)
        for value in range(256):
            body[position] = value
            table[position, value] = zlib.crc32(bytes(body)) ^ zeros
    return table


def _start_tables() -> tuple[npt.NDArray[np.uint32], int]:
    """The same for the four bytes of the CRC's starting value, shape [4, 256], and the CRC of zeros from start 0."""
    import zlib

    zeros = zlib.crc32(bytes(_BODY), 0)
    table = np.zeros((4, 256), np.uint32)
    for position in range(4):
        for value in range(256):
            table[position, value] = zlib.crc32(bytes(_BODY), value << (8 * position)) ^ zeros
    return table, zeros


_BODY_TABLES = _crc_tables()
_START_TABLES, _ZEROS = _start_tables()


def slot_crcs(slots: npt.NDArray[np.uint8], seed: int, first_index: int) -> npt.NDArray[np.uint32]:
    """The CRCs that slots should have.

    Args:
        slots: Shape [n, 32], the slots' bytes.
        seed: The segment's seed.
        first_index: The index of the first slot.

    Returns:
        Shape [n].
    """
    n = len(slots)
    starts = (np.arange(first_index, first_index + n, dtype=np.uint64) + np.uint64(seed)).astype(np.uint32)
    crcs = np.full(n, _ZEROS, np.uint32)
    for position in range(4):
        crcs ^= _START_TABLES[position][(starts >> np.uint32(8 * position)) & np.uint32(0xFF)]
    columns = np.ascontiguousarray(slots[:, 4:].T)
    for position in range(_BODY):
        crcs ^= _BODY_TABLES[position].take(columns[position])
    return crcs


@dataclass(frozen=True)
class Record:
    """One record of a segment.

    Attributes:
        seq: Its sequence number within its writer.
        time_us: When it happened, in microseconds since the epoch.
        kind: One of the format's ``KIND_`` numbers.
        payload: The JSON payload, read.
    """

    seq: int
    time_us: int
    kind: int
    payload: Any


@dataclass(frozen=True)
class Slots:
    """What a stretch of a segment holds.

    Attributes:
        writer_id: Who wrote it.
        first_seq: The sequence number of the segment's slot 0.
        end: Index of the first slot behind it.
        points: The metric points, as `SLOT_DTYPE`.
        seqs: Their sequence numbers, int64.
        records: The records, in order, without the declarations of series.
        series: What the series numbers mean: run id, attempt, key, context.
    """

    writer_id: str
    first_seq: int
    end: int
    points: npt.NDArray[np.void]
    seqs: npt.NDArray[np.int64]
    records: list[Record]
    series: dict[int, tuple[str, int, str, str | None]]


class SegmentReader:
    """Reads one segment as it grows; remembers its declarations of series."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        self.path = path
        self._header: SegmentHeader | None = None
        self._series: dict[int, tuple[str, int, str, str | None]] = {}
        self._scanned = HEADER_SLOTS

    def is_finished(self) -> bool:
        """Whether its writer is gone, so that nothing will be added."""
        return not is_locked(self.path)

    def read(self, start: int) -> Slots | None:
        """Read the valid slots from an index on.

        Args:
            start: Index of the first slot wanted; what comes before is only looked at for declarations of series.

        Returns:
            The stretch up to the first slot that isn't valid; None when the file has no header yet, or is gone.
        """
        start = max(start, HEADER_SLOTS)
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            if self._header is None:
                self._header = SegmentHeader.unpack(os.pread(fd, HEADER_SLOTS * SLOT, 0), self.path.name)
                if self._header is None:
                    return None
            first = min(self._scanned, start)
            data, valid = self._valid_bytes(fd, first)
        finally:
            os.close(fd)
        stretch = self._take_apart(data, valid, first, start)
        self._scanned = max(self._scanned, stretch.end)
        return stretch

    def has_remains(self, end: int) -> bool:
        """Whether something readable, or a header that can't be read and something after it, lies behind a slot index.

        What a killed writer left of its last record isn't readable; a record behind it is, and so something between
        them was damaged.

        Args:
            end: Index of the first slot that nobody has read yet.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return False
        if SegmentHeader.unpack(data[: HEADER_SLOTS * SLOT], self.path.name) is None:
            return bool(data[HEADER_SLOTS * SLOT :].strip(b"\0"))
        return bool(data[end * SLOT :].strip(b"\0")) and bool(self.remains(end))

    def remains(self, end: int) -> list[Slots]:
        """What can still be read behind damaged places.

        Args:
            end: Index of the first slot that is wanted.

        Returns:
            Stretches, each from a readable slot to the next damaged place. Points of series whose declaration can't be
            read are left out.
        """
        prefix = self.read(end)
        if prefix is None or self._header is None:
            return []
        data = self.path.read_bytes()
        n = len(data) // SLOT
        slots = np.frombuffer(data, np.uint8, n * SLOT).reshape(n, SLOT)
        fields = slots.view(SLOT_DTYPE)[:, 0]
        valid = (fields["crc"] == slot_crcs(slots, self._header.seed, 0)) & (fields["series"] != 0)
        found: list[Slots] = []
        at = prefix.end
        while True:
            ahead = np.flatnonzero(valid[at:])
            if not len(ahead):
                return found
            first = at + int(ahead[0])
            stretch = self._take_apart(data[first * SLOT :], valid[first:], first, max(first, end))
            is_known = np.isin(stretch.points["series"], list(self._series))
            if stretch.end > end:
                found.append(replace(stretch, points=stretch.points[is_known], seqs=stretch.seqs[is_known]))
            at = max(stretch.end, first + 1)

    def _valid_bytes(self, fd: int, first: int) -> tuple[bytes, npt.NDArray[np.bool_]]:
        """The bytes from a slot on, and for each slot whether its CRC holds. Stops soon behind the last valid slot."""
        assert self._header is not None
        chunks: list[bytes] = []
        flags: list[npt.NDArray[np.bool_]] = []
        index = first
        covered = first
        while True:
            data = os.pread(fd, CHUNK_SLOTS * SLOT, index * SLOT)
            n = len(data) // SLOT
            if n == 0:
                break
            slots = np.frombuffer(data, np.uint8, n * SLOT).reshape(n, SLOT)
            fields = slots.view(SLOT_DTYPE)[:, 0]
            valid = (fields["crc"] == slot_crcs(slots, self._header.seed, index)) & (fields["series"] != 0)
            chunks.append(data[: n * SLOT])
            flags.append(valid)
            heads = np.flatnonzero(valid & (fields["series"] >= RECORD))
            if len(heads):
                # A payload may reach beyond this chunk, and its slots aren't valid by themselves.
                last = heads[-1]
                covered = max(covered, index + int(last) + 1 + payload_slots(int(fields["step"][last])))
            index += n
            if not valid[-1] and covered < index:
                break
        return b"".join(chunks), np.concatenate(flags) if flags else np.zeros(0, np.bool_)

    def _take_apart(self, data: bytes, valid: npt.NDArray[np.bool_], first: int, start: int) -> Slots:
        assert self._header is not None
        n = len(valid)
        fields = np.frombuffer(data, SLOT_DTYPE, n)
        is_point = valid & (fields["series"] < RECORD)
        heads = np.flatnonzero(valid & (fields["series"] >= RECORD))
        invalid = np.flatnonzero(~valid)
        stretches: list[npt.NDArray[np.intp]] = []
        records: list[Record] = []
        at = 0
        next_head = 0
        while at < n:
            while next_head < len(heads) and heads[next_head] < at:
                next_head += 1  # bytes of a payload that happen to look like the head of a record
            head = int(heads[next_head]) if next_head < len(heads) else n
            broken = np.searchsorted(invalid, at)
            stop = min(head, int(invalid[broken]) if broken < len(invalid) else n)
            if stop > at:
                stretches.append(np.arange(at, stop))
            at = stop
            if stop != head or head == n:
                break
            record = self._record(data, fields, head, first)
            if record is None:
                break
            at = head + 1 + payload_slots(int(fields["step"][head]))
            if record.kind == KIND_SERIES:
                number, run_id, attempt, key, context = record.payload
                self._series[number] = (run_id, attempt, key, context)
            elif first + head >= start:
                records.append(record)
        wanted = np.concatenate(stretches) if stretches else np.zeros(0, np.intp)
        wanted = wanted[is_point[wanted]]
        wanted = wanted[wanted + first >= start]
        seqs = wanted.astype(np.int64) + (first + self._header.first_seq)
        return Slots(
            self._header.writer_id, self._header.first_seq, first + at, fields[wanted], seqs, records, self._series
        )

    def _record(self, data: bytes, fields: npt.NDArray[np.void], head: int, first: int) -> Record | None:
        """The record at a head, or None while its payload isn't wholly there."""
        assert self._header is not None
        length = int(fields["step"][head])
        start = (head + 1) * SLOT
        payload = data[start : start + length]
        body = data[head * SLOT + 4 : (head + 1) * SLOT]
        crc = int.from_bytes(body[12:20], "little", signed=True)
        if len(payload) != length or slot_crc(payload, 0, 0) != crc:
            return None
        return Record(
            seq=self._header.first_seq + first + head,
            time_us=int(fields["time"][head]),
            kind=int(fields["series"][head]) & ~RECORD,
            payload=json.loads(payload),
        )
