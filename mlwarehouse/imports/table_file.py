"""Tables of strangers as Arrow tables: CSV, Parquet, JSON and JSON lines, nested values spread over columns."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.imports.base import Oddity

SUFFIXES: Mapping[str, str] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
"""How a file is read, by its name; all but Parquet may end with ``.gz``."""


def form_of(path: Path) -> str | None:
    """How a file is read; None where its name doesn't tell."""
    return SUFFIXES.get(Path(path.name.removesuffix(".gz")).suffix.lower())


def read_table(path: Path, oddities: list[Oddity]) -> pa.Table:
    """A file's table: columns of numbers, truth values, times or text.

    Args:
        path: The file.
        oddities: Gets rows that can't be read.

    Raises:
        InvalidInputError: It can't be read at all.
    """
    form = form_of(path)
    try:
        if form == "parquet":
            return _plain(parquet.read_table(path))
        content = path.read_bytes()
        if path.name.endswith(".gz"):
            content = gzip.decompress(content)
        if form in ("csv", "tsv"):
            return _csv(content, "\t" if form == "tsv" else ",", path, oddities)
        return _columns(list(_objects(content, form == "jsonl", path, oddities)))
    except (OSError, EOFError, pa.ArrowException, ValueError) as error:
        raise InvalidInputError(f"`{path}` can't be read as {form}: {error}.") from error


def _csv(content: bytes, delimiter: str, path: Path, oddities: list[Oddity]) -> pa.Table:
    def skipped(row: Any) -> str:
        detail = f"it has {row.actual_columns} fields, and the head {row.expected_columns}; it was left out"
        oddities.append(Oddity("row unreadable", f"{path}, row {row.number}", detail))
        return "skip"

    try:
        content.decode()
        encoding = "utf8"
    except UnicodeDecodeError:
        oddities.append(Oddity("not UTF-8", str(path), "it was read as Latin-1"))
        encoding = "latin-1"
    if not content.strip():
        return pa.table({})

    def read(**more: Any) -> pa.Table:
        return csv.read_csv(
            pa.BufferReader(content),
            # One block: types are those of all rows. Rows are numbered only where one thread reads.
            read_options=csv.ReadOptions(block_size=len(content) + 1, encoding=encoding, use_threads=False),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skipped),
            # "nan" is a value here, and nothing is none.
            convert_options=csv.ConvertOptions(null_values=[""], strings_can_be_null=True, **more),
        )

    return _plain(read())


def _objects(content: bytes, is_lines: bool, path: Path, oddities: list[Oddity]) -> Iterator[dict[str, Any]]:
    if not is_lines:
        found = json.loads(content)
        for n, each in enumerate(found if isinstance(found, list) else [found], start=1):
            if isinstance(each, dict):
                yield dict(_spread(each))
            else:
                oddities.append(Oddity("row unreadable", f"{path}, entry {n}", "it isn't an object and was left out"))
        return
    for n, line in enumerate(content.splitlines(), start=1):
        try:
            each = json.loads(line) if line.strip() else {}
        except (ValueError, RecursionError) as error:
            oddities.append(Oddity("row unreadable", f"{path}, line {n}", f"{error}; it was left out"))
            continue
        if isinstance(each, dict) and each:
            yield dict(_spread(each))
        elif line.strip():
            oddities.append(Oddity("row unreadable", f"{path}, line {n}", "it isn't an object and was left out"))


def _spread(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested objects, under names with dots; a list is one leaf."""
    for key, each in value.items():
        if isinstance(each, Mapping):
            yield from _spread(each, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", each


def _columns(rows: list[dict[str, Any]]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {int, float} and kinds:
        return pa.array([None if v is None else float(v) for v in values]) if float in kinds else _whole(values)
    if kinds == {bool}:
        return pa.array(values)
    texts = [v if v is None or isinstance(v, str) else json.dumps(v, sort_keys=True) for v in values]
    return pa.array(texts, pa.string())


def _whole(values: list[int | None]) -> pa.Array:
    try:
        return pa.array(values, pa.int64())
    except OverflowError:
        return pa.array([None if v is None else float(v) for v in values])


def _plain(table: pa.Table) -> pa.Table:
    """Structs spread over columns; lists, and whatever else isn't a number, truth value, time or text, as JSON."""
    while any(pa.types.is_struct(f.type) for f in table.schema):
        table = table.flatten()
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        is_plain = (
            pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_boolean(kind)
            or pa.types.is_null(kind)
        )
        if is_plain or pa.types.is_timestamp(kind) or pa.types.is_string(kind):
            columns[name] = column.cast(kind)
        elif pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            columns[name] = column.cast(pa.string())
        elif pa.types.is_date(kind) or pa.types.is_decimal(kind):
            columns[name] = column.cast(pa.timestamp("us") if pa.types.is_date(kind) else pa.float64())
        else:
            columns[name] = pa.chunked_array(
                [[None if v is None else json.dumps(v, default=str) for v in column.to_pylist()]], pa.string()
            )
    return pa.table(columns)
