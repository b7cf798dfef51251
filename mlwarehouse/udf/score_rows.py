"""Rows of `predictions` and `prediction_inputs` from a batch: one for each value, what they share written once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.tables import TableSpec


def long_rows(
    spec: TableSpec,
    wide: pa.Table,
    names_in: str,
    shared: Mapping[str, Any],
    columns: Mapping[str, pa.Array | pa.ChunkedArray],
) -> pa.Table:
    """A row for each value of a table: a table's columns below each other.

    Args:
        spec: The table whose rows they become.
        wide: The values.
        names_in: The column that says which column of `wide` a value is from.
        shared: Columns with the same value in each row.
        columns: Columns with a value for each row of `wide`.

    Returns:
        The columns of `spec`. Numbers and booleans are in ``value``, text is in ``text``, lists are in ``text`` as
        JSON. Text that is the same in many rows is dictionary-encoded.
    """
    schema = spec.arrow_schema()
    n = wide.num_rows
    repeated = {f.name: _repeated(shared[f.name], f.type, n) for f in schema if f.name in shared}
    parts = []
    for name in wide.column_names:
        value, text = _value_and_text(name, wide.column(name))
        own = {names_in: _repeated(name, pa.string(), n), "value": value, "text": text}
        found = {**repeated, **columns, **own}
        parts.append(pa.table([found[f] for f in schema.names], names=schema.names))
    return pa.concat_tables(parts)


def row_keys(rows: pa.Table, key: str) -> pa.ChunkedArray:
    """The texts that name rows.

    Raises:
        InvalidInputError: There is no such column, or it has nulls.
    """
    keys = _column(rows, key, "to name rows by").cast(pa.string())
    if keys.null_count:
        raise InvalidInputError(f"Column `{key}` is to name the rows, and {keys.null_count} rows have none.")
    return keys


def row_times(rows: pa.Table, time: str) -> pa.ChunkedArray:
    """The times that rows have; one without a zone is UTC.

    Raises:
        InvalidInputError: There is no such column, it isn't one of times, or it has nulls.
    """
    column = _column(rows, time, "to take the rows' times from")
    told = f"Column `{time}` is to say when the rows happened, and"
    if column.null_count:
        raise InvalidInputError(f"{told} {column.null_count} rows have none.")
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if not (is_text or pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        raise InvalidInputError(f"{told} is {column.type}; cast it first.")
    try:
        if pa.types.is_timestamp(column.type) and column.type.tz is not None:
            return pc.cast(column, pa.timestamp("us", "UTC"), safe=False)
        return pc.assume_timezone(pc.cast(column, pa.timestamp("us"), safe=False), "UTC")
    except pa.ArrowInvalid as error:
        raise InvalidInputError(f"{told} can't be read: {error}") from error


def check_names(schema: pa.Schema, names: Iterable[str], what: str) -> None:
    """See that columns are there.

    Raises:
        InvalidInputError: One isn't.
    """
    for name in names:
        if name not in schema.names:
            raise InvalidInputError(f"There is no column `{name}` {what}.{did_you_mean(name, schema.names)}")


def _column(rows: pa.Table, name: str, what: str) -> pa.ChunkedArray:
    check_names(rows.schema, [name], what)
    return rows.column(name)


def _repeated(value: Any, type_: pa.DataType, n: int) -> pa.Array:
    if value is None:
        return pa.nulls(n, type_)
    if not pa.types.is_string(type_):
        return pa.repeat(pa.scalar(value, type_), n)
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), n), pa.array([value], pa.string()))


def _value_and_text(name: str, column: pa.ChunkedArray) -> tuple[Any, Any]:
    no_text, no_value = pa.nulls(len(column), pa.string()), pa.nulls(len(column), pa.float64())
    type_ = column.type
    if pa.types.is_boolean(type_):
        return column.cast(pa.int8()).cast(pa.float64()), no_text
    if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        # Beyond 2^53 a whole number is rounded to the nearest double; the table has no other column for it.
        return pc.cast(column, pa.float64(), safe=False), no_text
    if pa.types.is_nested(type_):
        texts = [None if v is None else json.dumps(v, separators=(",", ":")) for v in column.to_pylist()]
        return no_value, pa.array(texts, pa.string())
    try:
        return no_value, column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidInputError(f"Column `{name}` is {type_} and can't be kept as a number or text.") from error
