"""The frames of a `.wandb` file: LevelDB's log form with a head of W&B's own.

Records are cut into pieces that don't cross blocks of 32 KiB; each piece has a check sum (CRC-32), a length and a kind.
See https://github.com/google/leveldb/blob/main/doc/log_format.md.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

HEAD = b":W&B\xe1\xbe\x00"
BLOCK = 32 * 1024
_PIECE = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


class LogError(ValueError):
    """What comes behind can't be read; the text says why, and from which byte on."""


def records(content: bytes) -> Iterator[bytes]:
    """The records of a file.

    Args:
        content: The file.

    Raises:
        LogError: A piece is damaged, cut off, or out of place; the records before it have come.
    """
    if content[: len(HEAD)] != HEAD:
        raise LogError("it doesn't begin as such a file does")
    parts: list[bytes] = []
    place, size = len(HEAD), len(content)
    while place < size:
        left = BLOCK - place % BLOCK
        if left < _PIECE.size:
            place += left
            continue
        if place + _PIECE.size > size:
            raise LogError(f"a record is cut off at byte {place:,}")
        crc, length, kind = _PIECE.unpack_from(content, place)
        begin = place + _PIECE.size
        piece = content[begin : begin + length]
        if len(piece) < length:
            raise LogError(f"a record is cut off at byte {place:,}")
        if zlib.crc32(piece, zlib.crc32(bytes([kind]))) != crc:
            raise LogError(f"the record at byte {place:,} was changed, or isn't written yet")
        if (kind in (_MIDDLE, _LAST)) != bool(parts) or kind not in (_WHOLE, _FIRST, _MIDDLE, _LAST):
            raise LogError(f"the record at byte {place:,} is out of place")
        parts.append(piece)
        place = begin + length
        if kind in (_WHOLE, _LAST):
            yield b"".join(parts)
            parts = []
    if parts:
        raise LogError(f"a record is cut off at byte {place:,}")
