"""Long tables made wide, with one step a column and none a run; and frames in the caller's library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.arrays import one_array
from mlwarehouse.errors import InvalidInputError, MissingDependencyError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

FrameFormat = Literal["pandas", "arrow", "polars"]
"""The libraries whose frames can be had."""

NOT_A_TIME = -(2**63)
"""The whole number by which numpy and pandas mean no time."""

FRAME_FORMATS: tuple[str, ...] = ("pandas", "arrow", "polars")


def spread(rows: pa.Table, *, key: str, value: str, numbers: pa.Array) -> dict[str, pa.Array]:
    """Make one column for each key of a long table.

    Args:
        rows: A row per run and key, with the columns ``number``, `key` (text, or dictionary-encoded) and `value`.
        key: The column of keys.
        value: The column of values.
        numbers: The runs' numbers, in the order of the result.

    Returns:
        By key, in the order of the keys' text: the values in the order of `numbers`, null where a run has none.
    """
    if rows.num_rows == 0:
        return {}
    encoded = one_array(rows.column(key).unify_dictionaries()).dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    where = pc.index_in(one_array(rows.column("number")), value_set=numbers).to_numpy(zero_copy_only=False)
    values = one_array(rows.column(value))
    by_code = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[by_code], np.arange(len(encoded.dictionary) + 1))
    columns = {}
    for code, name in enumerate(encoded.dictionary.to_pylist()):
        picked = by_code[bounds[code] : bounds[code + 1]]
        if not len(picked):
            # A dictionary may have words of rows that were left out.
            continue
        source = np.full(len(numbers), -1, dtype=np.int64)
        source[where[picked].astype(np.int64)] = picked
        columns[name] = values.take(pa.array(source, mask=source < 0))
    return dict(sorted(columns.items()))


def check_format(output_format: str, allowed: tuple[str, ...]) -> None:
    """Refuse an unknown output format.

    Raises:
        InvalidInputError: It is none of those allowed.
    """
    if output_format not in allowed:
        raise InvalidInputError(
            f"Unknown output format `{output_format}`; it must be one of {', '.join(allowed)}."
            f"{did_you_mean(output_format, allowed)}"
        )


def to_frame(table: pa.Table, output_format: str) -> Any:
    """Hand an Arrow table over as a frame.

    Args:
        table: The table.
        output_format: An entry of `FRAME_FORMATS`.

    Raises:
        InvalidInputError: Another format.
        MissingDependencyError: The library isn't installed.
    """
    check_format(output_format, FRAME_FORMATS)
    if output_format == "pandas":
        return to_pandas(table)
    table = _without_dictionaries(table)
    if output_format == "arrow":
        return table
    try:
        import polars
    except ImportError as error:
        raise MissingDependencyError("Frames of polars need it installed: pip install polars.") from error
    return polars.from_arrow(table)


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a pandas frame with the usual types: text as objects, None where there is none."""
    if not any(pa.types.is_dictionary(field.type) for field in table.schema):
        frame: pd.DataFrame = table.to_pandas()
        return frame
    import pandas

    return pandas.DataFrame({name: _series(table.column(name)) for name in table.column_names}, copy=False)


def _series(column: pa.ChunkedArray) -> pd.Series[Any]:
    """A column as pandas' own conversion gives it, where that goes over millions of rows again and again."""
    import pandas

    if pa.types.is_dictionary(column.type):
        # Of the type that it has: else pandas looks through all objects for times.
        return pandas.Series(_texts(one_array(column)), dtype=object, copy=False)
    if pa.types.is_string(column.type) and column.null_count == len(column):
        return pandas.Series(np.full(len(column), None, dtype=object), dtype=object, copy=False)
    if pa.types.is_timestamp(column.type) and column.type.tz == "UTC":
        # Whole numbers are instants; times without a zone would be localized, and copied for it.
        instants = pc.fill_null(column.cast(pa.int64()), NOT_A_TIME).to_numpy()
        zoned = pandas.DatetimeTZDtype(unit=column.type.unit, tz="UTC")
        return pandas.Series(pandas.array(_own(instants), dtype=zoned, copy=False), copy=False)
    plain: pd.Series[Any] = column.to_pandas()
    values = plain.to_numpy()
    return plain if values.flags.writeable else pandas.Series(_own(values), copy=False)


def _own(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Values that may be written to, which those in Arrow's memory may not."""
    return values if values.flags.writeable else values.copy()


def _texts(array: pa.DictionaryArray) -> np.ndarray[Any, Any]:
    """Texts as objects, each made once, however many rows have it."""
    words = np.array([*array.dictionary.to_pylist(), None], dtype=object)
    codes = array.indices if not array.null_count else pc.fill_null(array.indices, -1)
    texts: np.ndarray[Any, Any] = words[codes.to_numpy()]
    return texts


def _without_dictionaries(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(field.type.value_type))
    return table


def with_nanoseconds(table: pa.Table) -> pa.Table:
    """Times in nanoseconds, which is what pandas users of MLflow's frames have."""
    for index, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit != "ns":
            column = table.column(index).cast(pa.timestamp("ns", tz=field.type.tz))
            table = table.set_column(index, field.name, column)
    return table
