"""Event files as writers of TensorBoard's make them, from the wire form up."""

from __future__ import annotations

import struct
from pathlib import Path

from mlwarehouse.imports.tfrecord import masked_crc


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: bytes | int | float | str, size: str = "<d") -> bytes:
    if isinstance(value, float):
        return varint(number << 3 | (1 if size == "<d" else 5)) + struct.pack(size, value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def event(time: float, step: int, *values: bytes) -> bytes:
    return field(1, time) + (field(2, step) if step else b"") + field(5, b"".join(field(1, v) for v in values))


def metadata(plugin: str, content: bytes = b"") -> bytes:
    return field(9, field(1, field(1, plugin) + field(2, content)))


def plain(tag: str, value: float) -> bytes:
    """As PyTorch's and the first TensorFlow's."""
    return field(1, tag) + field(2, value, "<f")


def tensor(tag: str, value: float, form: str = "content") -> bytes:
    """As TensorFlow 2's."""
    if form == "int":
        content = field(1, 3) + field(7, int(value))
    elif form == "double":
        content = field(1, 2) + field(6, value)
    else:
        content = field(1, 1) + field(2, b"") + field(4 if form == "content" else 5, struct.pack("<f", value))
    return field(1, tag) + field(8, content) + metadata("scalars")


def words(tag: str, text: str) -> bytes:
    return field(1, tag) + field(8, field(1, 7) + field(8, text)) + metadata("text")


def hparams(**values: float | str | bool) -> bytes:
    entries = b""
    for key, value in values.items():
        if isinstance(value, bool):
            one = field(4, int(value))
        else:
            one = field(2, float(value)) if isinstance(value, int | float) else field(3, value)
        entries += field(1, field(1, key) + field(2, one))
    return field(1, "_hparams_/session_start_info") + metadata("hparams", field(3, entries + field(5, 1700000000.0)))


def session_end(status: int) -> bytes:
    return field(1, "_hparams_/session_end_info") + metadata("hparams", field(4, field(1, status)))


def histogram(tag: str) -> bytes:
    return field(1, tag) + field(5, b"")


def frame(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def write(path: Path, *events: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        for each in events:
            file.write(frame(each))
    return path
