"""The spool's file format: segments of 32-byte slots.

A segment is a file of one writer. It opens with a header of four slots; then each slot is a metric point, or the head
of a record whose JSON payload fills the slots that follow. Everything is little-endian::

    point   crc u32 | series u32          | step i64   | value f64       | time i64 (µs)
    record  crc u32 | RECORD + kind (u32) | length i64 | payload crc i64 | time i64 (µs)

The CRC-32 covers the other 28 bytes and starts from the segment's seed plus the slot's index: a slot of another file,
or at another place, never validates. Series 0 doesn't exist, so zeros (a tail that was allocated and never written)
are never a valid slot. What counts is the longest prefix of valid slots: a torn tail ends it and is cut.

Fixed slots let a reader check and decode a million points with a few vector operations, and a writer put one with one
store into mapped memory. The kernel has it then: killing the process loses nothing.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from mlwarehouse.errors import StorageError

SLOT = 32
"""Bytes of a slot."""

HEADER_SLOTS = 4
MAGIC = b"MLWSPOOL"
FORMAT_VERSION = 1

RECORD = 0x8000_0000
"""Set in the second field of a slot that heads a record; the low bits are its kind."""

KIND_SERIES = 1
"""Payload ``[series, run_id, attempt, key, context]``: declares what a point's series number means in this segment."""

KIND_ROWS = 2
"""Payload ``[table, common, columns, rows]``: rows of a table without their envelope; ``common`` are columns that all
rows share, ``rows`` lists the others' values in the order of ``columns``."""

POINT_BODY = struct.Struct("<Iqdq")
RECORD_BODY = struct.Struct("<Iqqq")
SLOT_FORM = struct.Struct("<I28s")
_HEADER = struct.Struct("<8sHHI16sQIqI")


@dataclass(frozen=True)
class SegmentHeader:
    """The head of a segment.

    Attributes:
        writer_id: 16 hexadecimal digits; a process has one, and a forked child another.
        first_seq: The sequence number of the segment's first slot; a slot's number is this plus its index.
        seed: Where the CRC of slot 0 starts.
        pid: The process that writes it.
        created_at: Microseconds since the epoch.
    """

    writer_id: str
    first_seq: int
    seed: int
    pid: int
    created_at: int

    def pack(self) -> bytes:
        """The header's bytes, `HEADER_SLOTS` slots long."""
        head = _HEADER.pack(
            MAGIC,
            FORMAT_VERSION,
            0,
            self.seed,
            self.writer_id.encode("ascii"),
            self.first_seq,
            self.pid,
            self.created_at,
            0,
        )
        body = head[:-4]
        return (body + struct.pack("<I", zlib.crc32(body))).ljust(HEADER_SLOTS * SLOT, b"\0")

    @classmethod
    def unpack(cls, data: bytes, name: str) -> SegmentHeader | None:
        """Read a header.

        Args:
            data: The file's first bytes.
            name: The file's name, for the error.

        Returns:
            The header; None when it isn't completely written (its writer died, or is about to write it).

        Raises:
            StorageError: A format of a later release.
        """
        if len(data) < _HEADER.size or data[:8] != MAGIC:
            return None
        _, version, _, seed, writer, first_seq, pid, created_at, crc = _HEADER.unpack_from(data)
        if zlib.crc32(data[: _HEADER.size - 4]) != crc:
            return None
        if version != FORMAT_VERSION:
            raise StorageError(
                f"Spool segment `{name}` has format {version}; this release reads {FORMAT_VERSION}. "
                "Upgrade mlwarehouse."
            )
        return cls(writer.decode("ascii"), first_seq, seed, pid, created_at)


def slot_crc(body: bytes, seed: int, index: int) -> int:
    """The CRC of one slot; see the module's text."""
    return zlib.crc32(body, (seed + index) & 0xFFFF_FFFF)


def payload_slots(length: int) -> int:
    """How many slots a payload of ``length`` bytes fills."""
    return -(-length // SLOT)
