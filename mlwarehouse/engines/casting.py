"""Strict casts to a declared schema: a value that would change is an error, never a rounding.

delta-rs stores 1.5 into a column of whole numbers as 1 without a word; so every table passes through here first.
"""

from __future__ import annotations

import pyarrow as pa

from mlwarehouse.errors import CastError, did_you_mean
from mlwarehouse.tables import TableSpec

ACCEPTED: dict[str, frozenset[str]] = {
    "string": frozenset({"string"}),
    "long": frozenset({"integer", "float", "decimal"}),
    "integer": frozenset({"integer", "float", "decimal"}),
    "double": frozenset({"integer", "float", "decimal"}),
    "boolean": frozenset({"boolean"}),
    "timestamp": frozenset({"timestamp", "date"}),
}
"""The kinds of values that a declared type takes, where each single value fits. Arrow alone would take 2 for true,
1 for the first microsecond of 1970 and text for a number."""


def kind_of(type_: pa.DataType) -> str:
    """The kind of an Arrow type, in the words of `ACCEPTED`; ``null`` for no values, or the type's own name."""
    if pa.types.is_dictionary(type_):
        return kind_of(type_.value_type)
    tests = {
        "null": pa.types.is_null,
        "string": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t),
        "integer": pa.types.is_integer,
        "float": pa.types.is_floating,
        "decimal": pa.types.is_decimal,
        "boolean": pa.types.is_boolean,
        "timestamp": pa.types.is_timestamp,
        "date": pa.types.is_date,
    }
    return next((kind for kind, test in tests.items() if test(type_)), str(type_))


def cast_strict(rows: pa.Table, spec: TableSpec) -> pa.Table:
    """Bring rows to a table's declared columns, order and types, or refuse.

    Args:
        rows: The rows; nullable columns may be missing.
        spec: The table.

    Returns:
        The rows in the table's Arrow schema.

    Raises:
        CastError: An unknown or missing column, a null where none may be, or a lossy cast.
    """
    schema = spec.arrow_schema()
    declared = {c.name: c.type for c in spec.all_columns}
    known = set(schema.names)
    for name in rows.column_names:
        if name not in known:
            raise CastError(f"Table `{spec.name}` has no column `{name}`.{did_you_mean(name, known)}")
    columns: list[pa.ChunkedArray | pa.Array] = []
    for field in schema:
        if field.name not in rows.column_names:
            if not field.nullable:
                raise CastError(f"Rows for table `{spec.name}` lack the column `{field.name}`, which every row needs.")
            columns.append(pa.nulls(rows.num_rows, field.type))
            continue
        column = rows.column(field.name)
        if kind_of(column.type) not in ACCEPTED[declared[field.name]] | {"null"}:
            raise CastError(
                f"Column `{field.name}` of table `{spec.name}` is declared {field.type} and got {column.type}; "
                "convert it first."
            )
        try:
            if not _is_coded_text(column.type, field.type):
                column = column.cast(field.type, safe=True)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise CastError(
                f"Column `{field.name}` of table `{spec.name}` is declared {field.type} and got {column.type}: {error}."
            ) from error
        if not field.nullable and column.null_count:
            raise CastError(
                f"Column `{field.name}` of table `{spec.name}` may not be null; {column.null_count} of "
                f"{rows.num_rows} rows are."
            )
        columns.append(column)
    return pa.table(columns, names=schema.names)


def _is_coded_text(got: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a column is dictionary-encoded text where text is declared: the same values, cheaper to write."""
    return bool(pa.types.is_string(wanted) and pa.types.is_dictionary(got) and pa.types.is_string(got.value_type))


def plain_types(rows: pa.Table) -> pa.Table:
    """Give answers the same plain types on every engine.

    DuckDB sums whole numbers into 128 bits, which arrive as decimals; they become int64 where they fit and float64
    where they don't. Timestamps with a zone become UTC microseconds, and large strings become strings.
    """
    for index, field in enumerate(rows.schema):
        target = field.type
        if pa.types.is_decimal(field.type) and field.type.scale == 0:
            column = rows.column(index)
            try:
                rows = rows.set_column(index, field.name, column.cast(pa.int64()))
            except pa.ArrowInvalid:
                rows = rows.set_column(index, field.name, column.cast(pa.float64()))
            continue
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            target = pa.timestamp("us", tz="UTC")
        elif pa.types.is_large_string(field.type):
            target = pa.string()
        if target != field.type:
            rows = rows.set_column(index, field.name, rows.column(index).cast(target))
    return rows
