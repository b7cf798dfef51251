"""The wire form of protocol buffers, as far as it is read here: fields of a message, without its description.

See https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class ProtobufError(ValueError):
    """Bytes that aren't a message."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes:
        number: Its number.
        kind: How it is written: `VARINT`, `FIXED64`, `BYTES` or `FIXED32`.
        start: Where its value begins; that of bytes without their length.
        end: Where its value ends.
        value: The number that a varint is; else 0.
    """

    number: int
    kind: int
    start: int
    end: int
    value: int


def fields(content: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """The fields of a message.

    Args:
        content: Bytes that hold it.
        start: Where it begins.
        end: Where it ends.

    Raises:
        ProtobufError: It isn't one.
    """
    place, last = start, len(content) if end is None else end
    while place < last:
        key, place = _varint(content, place, last)
        kind, begin, value = key & 7, place, 0
        if kind == VARINT:
            value, place = _varint(content, place, last)
        elif kind == BYTES:
            length, begin = _varint(content, place, last)
            place = begin + length
        elif kind == FIXED64:
            place += 8
        elif kind == FIXED32:
            place += 4
        else:
            raise ProtobufError(f"a field of kind {kind}")
        if place > last:
            raise ProtobufError("a field that leads beyond the end")
        yield Field(key >> 3, kind, begin, place, value)


def text(content: bytes, field: Field) -> str:
    """A field of bytes as text; what isn't UTF-8 is replaced."""
    return content[field.start : field.end].decode("utf-8", "replace")


def _varint(content: bytes, place: int, last: int) -> tuple[int, int]:
    value = shift = 0
    while place < last and shift < 70:
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise ProtobufError("a number without an end")
