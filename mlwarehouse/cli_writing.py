"""Answers into files and pipes: CSV, JSON, JSON lines and Parquet, a batch at a time, so memory doesn't grow."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlwarehouse.cli_output import plain
from mlwarehouse.errors import InvalidInputError, StorageError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".md": "markdown",
}
"""The format that a file's name asks for."""


def write_csv(stream: pa.RecordBatchReader, out: IO[bytes]) -> int:
    """Write CSV with a head; null is nothing, an empty text is ``""``, lists and structs are JSON."""
    import pyarrow as pa
    from pyarrow import csv

    schema = pa.schema([pa.field(f.name, pa.string() if pa.types.is_nested(f.type) else f.type) for f in stream.schema])
    n = 0
    with csv.CSVWriter(out, schema) as writer:
        for batch in stream:
            columns = [
                pa.array([None if v is None else _json(v) for v in column.to_pylist()], pa.string())
                if pa.types.is_nested(column.type)
                else column
                for column in batch.columns
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            n += batch.num_rows
    return n


def write_json(stream: pa.RecordBatchReader, out: IO[bytes]) -> int:
    """Write a JSON list with an object a row."""
    n = 0
    for n, row in enumerate(_rows(stream), start=1):
        out.write((("[" if n == 1 else ",\n") + _json(row)).encode())
    out.write(b"[]\n" if n == 0 else b"]\n")
    return n


def write_jsonl(stream: pa.RecordBatchReader, out: IO[bytes]) -> int:
    """Write a JSON object a line."""
    n = 0
    for row in _rows(stream):
        out.write((_json(row) + "\n").encode())
        n += 1
    return n


def write_parquet(stream: pa.RecordBatchReader, out: IO[bytes]) -> int:
    """Write one Parquet file, with a row group for each 16 batches at most."""
    import pyarrow as pa
    from pyarrow import parquet

    n = 0
    with parquet.ParquetWriter(out, stream.schema, compression="zstd") as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in stream:
            n += batch.num_rows
            waiting.append(batch)
            if len(waiting) == 16:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting = []
        if waiting or n == 0:
            writer.write_table(pa.Table.from_batches(waiting, stream.schema))
    return n


WRITERS: dict[str, Callable[[Any, IO[bytes]], int]] = {
    "csv": write_csv,
    "json": write_json,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}
"""How each format is written; a writer returns the number of rows."""

FORMATS = ("table", "markdown", *WRITERS)


def format_of(name: str | None, output: Path | None, as_json: bool) -> str:
    """The format that the options ask for.

    Raises:
        InvalidInputError: There is no such format, or it can't be told from the file's name.
    """
    if name is not None and name not in FORMATS:
        raise InvalidInputError(
            f"There is no format `{name}`; it must be one of {', '.join(FORMATS)}.{did_you_mean(name, FORMATS)}"
        )
    if name is None and as_json:
        return "json"
    if name is None and output is not None:
        if output.suffix.lower() not in SUFFIXES:
            raise InvalidInputError(
                f"The name `{output}` doesn't tell a format; give one by --format, as in --format csv."
            )
        return SUFFIXES[output.suffix.lower()]
    return name or "table"


@contextlib.contextmanager
def opened(output: Path | None) -> Iterator[IO[bytes]]:
    """Where bytes go: standard output, or a file that appears when it is whole.

    Raises:
        StorageError: The file can't be written.
    """
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as out:
            yield out
        partial.replace(output)
    except OSError as error:
        raise StorageError(f"`{output}` couldn't be written: {error}.") from error
    finally:
        partial.unlink(missing_ok=True)


def _rows(stream: pa.RecordBatchReader) -> Iterator[dict[str, Any]]:
    for batch in stream:
        yield from batch.to_pylist()


def _json(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False, default=str)
