"""Rows as bytes of an answer, batch by batch: Arrow's stream format, JSON, and CSV."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from pyarrow import csv

from mlwarehouse.cli_output import plain
from mlwarehouse.parts.locked_sql import AnswerStream
from mlwarehouse.server.api.bodies import ARROW, CSV, JSON

TRUNCATED = {"is_truncated": "true"}
"""What the last batch of a stream, which has no rows, says where rows were left out."""


def to_arrow(answer: AnswerStream) -> Iterator[bytes]:
    """Arrow's stream format. Where rows were left out, a last batch without rows says so in its metadata."""
    out = io.BytesIO()
    with pa.ipc.new_stream(out, answer.schema) as writer:
        for batch in answer:
            writer.write_batch(batch)
            yield _taken(out)
        if answer.is_truncated:
            writer.write_batch(pa.RecordBatch.from_pylist([], answer.schema), custom_metadata=TRUNCATED)
    yield _taken(out)


def to_json(answer: AnswerStream) -> Iterator[bytes]:
    """An object with ``columns``, ``rows`` as lists, and ``is_truncated``; NaN and the infinities are text."""
    columns = [{"name": field.name, "type": str(field.type)} for field in answer.schema]
    yield f'{{"columns":{_json(columns)},"rows":['.encode()
    before = ""
    for batch in answer:
        if batch.num_rows:
            rows = json.dumps(
                list(zip(*map(_values, batch.columns), strict=True)),
                ensure_ascii=False,
                separators=(",", ":"),
                default=_text,
            )
            yield f"{before}{rows[1:-1]}".encode()
            before = ","
    yield f'],"is_truncated":{_json(answer.is_truncated)}}}'.encode()


def to_csv(answer: AnswerStream) -> Iterator[bytes]:
    """CSV with a head; null is nothing, an empty text is ``""``, lists and structs are JSON."""
    fields = [pa.field(f.name, pa.string() if pa.types.is_nested(f.type) else f.type) for f in answer.schema]
    schema, out = pa.schema(fields), io.BytesIO()
    with csv.CSVWriter(out, schema) as writer:
        yield _taken(out)
        for batch in answer:
            columns = [
                pa.array([None if v is None else _json(v) for v in column.to_pylist()], pa.string())
                if pa.types.is_nested(column.type)
                else column
                for column in batch.columns
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            yield _taken(out)


FORMS: dict[str, tuple[str, Callable[[AnswerStream], Iterator[bytes]]]] = {
    "json": (JSON, to_json),
    "arrow": (ARROW, to_arrow),
    "csv": (CSV, to_csv),
}
"""By name: the media type of each form, and how it is written."""


def _values(column: pa.Array) -> list[Any]:
    """Values as JSON has them."""
    values = column.to_pylist()
    is_plain = pa.types.is_integer(column.type) or pa.types.is_string(column.type) or pa.types.is_boolean(column.type)
    return list(values) if is_plain else [plain(value) for value in values]


def _taken(out: io.BytesIO) -> bytes:
    content = out.getvalue()
    out.seek(0)
    out.truncate()
    return content


def _text(value: Any) -> str:
    """What JSON has no word for: bytes in base 64, all else as Python writes it."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _json(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"), default=_text, allow_nan=False)
