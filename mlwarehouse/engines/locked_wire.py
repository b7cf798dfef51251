"""Questions and answers between a warehouse and its workers, as bytes: JSON in front, Arrow behind, no pickle."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pyarrow as pa

from mlwarehouse.engines.arrays import one_array
from mlwarehouse.errors import SqlError

_LENGTH = struct.Struct("<Q")

ALIGNED = 64
"""Each part begins at a multiple of so many bytes, as Arrow wants its memory."""

LONGEST_HEADER = 1 << 20
"""Bytes of a header that are read; a message is shorter."""


@dataclass(frozen=True)
class Relation:
    """A table as the question names it.

    Attributes:
        name: Its name.
        rows: Rows that are part of it as they are; their schema is the table's.
        files: Parquet files.
        key: The column of the files whose values decide which rows are part of it; None where all are.
        granted: The values that it may have.
        until_us: Of the files, only rows whose ``recorded_at`` is no later, in microseconds since the epoch; None for
            all.
    """

    name: str
    rows: pa.Table
    files: tuple[str, ...] = ()
    key: str | None = None
    granted: pa.Array | None = None
    until_us: int | None = None


@dataclass(frozen=True)
class Bounds:
    """What one question may take.

    Attributes:
        time_s: Seconds until it is ended.
        memory_bytes: Memory of its worker beyond what an idle one has.
        rows: Rows of the answer; those behind it are left out, and the answer says so.
        result_bytes: Size of the answer; a larger one is refused.
        threads: Threads that compute.
    """

    time_s: float
    memory_bytes: int
    rows: int
    result_bytes: int
    threads: int


@dataclass(frozen=True)
class Asked:
    """A question, and all that is needed to answer it.

    Attributes:
        text: The SQL, over `relations`.
        relations: The tables.
        bounds: What it may take.
        parameters: Values of its marks.
        without_landlock: See `mlwarehouse.sandbox.shut_in`.
    """

    text: str
    relations: tuple[Relation, ...]
    bounds: Bounds
    parameters: Mapping[str, Any] = field(default_factory=dict)
    without_landlock: bool = False


def write_asked(asked: Asked) -> bytes:
    """A question as bytes.

    Raises:
        SqlError: The value of a parameter is of a kind that a table can't hold.
    """
    blobs: list[bytes] = []
    places: dict[int, int] = {}

    def place(table: pa.Table) -> int:
        blobs.append(_padded(as_bytes(table)))
        return len(blobs) - 1

    relations = []
    for r in asked.relations:
        if r.granted is not None and id(r.granted) not in places:
            places[id(r.granted)] = place(pa.table({"granted": r.granted}))
        granted = None if r.granted is None else places[id(r.granted)]
        relations.append(
            {
                "name": r.name,
                "rows": place(r.rows),
                "files": list(r.files),
                "key": r.key,
                "granted": granted,
                "until_us": r.until_us,
            }
        )
    try:
        parameters = place(pa.table({name: [value] for name, value in asked.parameters.items()}))
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise SqlError(f"A parameter has a value that SQL can't have: {str(error).splitlines()[0]}") from error
    header = {
        "text": asked.text,
        "relations": relations,
        "bounds": vars(asked.bounds),
        "parameters": parameters,
        "without_landlock": asked.without_landlock,
        "lengths": [len(b) for b in blobs],
    }
    return b"".join((_framed(header), *blobs))


def read_asked(data: bytes) -> Asked:
    """The question that `write_asked` has written."""
    header, at = _opened(data)
    tables = []
    for length in header["lengths"]:
        tables.append(pa.ipc.open_stream(pa.py_buffer(data).slice(at, length)).read_all())
        at += length
    relations = tuple(
        Relation(
            r["name"],
            tables[r["rows"]],
            tuple(r["files"]),
            r["key"],
            None if r["granted"] is None else one_array(tables[r["granted"]].column("granted")),
            r["until_us"],
        )
        for r in header["relations"]
    )
    parameters = tables[header["parameters"]].to_pylist()
    return Asked(
        header["text"],
        relations,
        Bounds(**header["bounds"]),
        parameters[0] if parameters else {},
        header["without_landlock"],
    )


def write_answer(out: BinaryIO, rows: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write an answer, batch by batch as they come; `write_end` or `write_failure` ends it."""
    out.write(_framed({}))
    with pa.ipc.new_stream(out, schema) as writer:
        for batch in rows:
            writer.write_batch(batch)


def write_end(out: BinaryIO, *, is_truncated: bool) -> None:
    """Write that an answer is whole, and whether there were more rows."""
    out.write(_framed({"is_truncated": is_truncated}))


def write_failure(out: BinaryIO, kind: str, message: str) -> None:
    """Write a failure, in place of an answer or behind a part of one: an error's class by name, and what it says."""
    out.write(_framed({"error": kind, "message": message}))


def read_header(source: BinaryIO) -> dict[str, Any]:
    """What a worker says before or behind its rows.

    The bytes may come from a worker that a stranger has taken over.

    Raises:
        ValueError: It is no header.
    """
    length = source.read(_LENGTH.size)
    size = _LENGTH.unpack(length)[0] if len(length) == _LENGTH.size else LONGEST_HEADER + 1
    if size > LONGEST_HEADER:
        raise ValueError("no header")
    text = source.read(size)
    source.read(-(_LENGTH.size + size) % ALIGNED)
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("no header")
    return header


def as_bytes(table: pa.Table) -> bytes:
    """A table in Arrow's stream format."""
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNED)


def _framed(header: Mapping[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return _padded(_LENGTH.pack(len(text)) + text)


def _opened(data: bytes) -> tuple[Any, int]:
    (length,) = _LENGTH.unpack_from(data)
    start = _LENGTH.size
    end = start + length
    return json.loads(data[start:end]), end + -end % ALIGNED
