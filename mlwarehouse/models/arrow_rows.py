"""Arrow rows to arrays and back without a frame between, for models that take one array and give one.

What can't be done so is done by `frames`, which says in sentences what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.errors import ModelError
from mlwarehouse.models.frames import DTYPES, as_array, fits_shape, output_frame
from mlwarehouse.models.signature import Field, Signature

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_SMALL = ("int8", "int16", "int32", "uint8", "uint16")
_WHOLE = (*_SMALL, "int64", "uint32")
_ANY = (*_WHOLE, "halffloat", "float", "double")
_TAKEN = {"boolean": ("bool",), "integer": _SMALL, "long": _WHOLE, "float": _ANY, "double": _ANY}
"""Arrow's types that a field takes as a signature does, by the field's type."""

ARROW_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "long": pa.int64(),
    "integer": pa.int32(),
    "double": pa.float64(),
    "float": pa.float32(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
}
"""The Arrow type of each field type."""


def arrow_type(field: Field) -> pa.DataType:
    """The Arrow type of a field's values."""
    type_ = ARROW_TYPES[field.type]
    for _ in range(field.dims):
        type_ = pa.list_(type_)
    return type_


def array_of(rows: pa.Table, signature: Signature) -> np.ndarray[Any, Any] | None:
    """The array that `frames.input_array` makes of the same columns, of the same values in the same order.

    Args:
        rows: Columns of the signature's types.
        signature: What the model takes.

    Returns:
        float32 of shape [rows, columns], a column after the other in memory, or the stack of one column's lists; None
        where only a frame can be made.
    """
    import numpy as np

    fields = signature.inputs
    way = _way(signature, rows.schema)
    if way is None or any(rows.column(f.name).null_count for f in fields):
        return None
    if way == "stack":
        return _stacked(rows.column(fields[0].name), fields[0])
    array = np.empty((len(fields), rows.num_rows), dtype=np.float32)
    for place, field in zip(array, fields, strict=True):
        column = rows.column(field.name).to_numpy()
        # By way of the field's own type: large whole numbers are rounded as in a frame.
        place[:] = column if field.type == "float" else column.astype(DTYPES[field.type], copy=False)
    return array.T


def table_of(value: Any, n_rows: int, fields: Sequence[Field]) -> pa.Table:
    """What a model returned, as columns.

    Args:
        value: As for `frames.output_frame`.
        n_rows: How many rows it was given.
        fields: The signature's outputs; empty when unknown.

    Raises:
        ModelError: As for `frames.output_frame`; or an output isn't of its field's type.
    """
    import numpy as np
    import pandas as pd

    if isinstance(value, np.ndarray) or hasattr(value, "detach"):
        array = as_array(value)
        columns = _columns_of(array, fields) if len(array) == n_rows and fields else None
        if columns is not None:
            return pa.table(dict(zip([f.name for f in fields], columns, strict=True)))
    return table_of_frame(output_frame(value, pd.RangeIndex(n_rows), fields), fields)


def table_of_frame(frame: pd.DataFrame, fields: Sequence[Field]) -> pa.Table:
    """A frame of outputs as Arrow columns of the fields' types.

    Raises:
        ModelError: An output isn't of its field's type.
    """
    types: dict[str, pa.DataType | None] = dict.fromkeys(frame.columns)
    types |= {f.name: arrow_type(f) for f in fields}
    return pa.table({name: _arrow_column(frame[name], types[name]) for name in frame.columns})


def frame_of(rows: pa.Table) -> pd.DataFrame:
    """Rows as a frame whose cells of lists are arrays of numbers, or lists where they are ragged or hold text.

    pandas would make arrays of objects of them, which tell nobody their type.
    """
    frame: pd.DataFrame = rows.to_pandas()
    for name, type_ in zip(rows.column_names, rows.schema.types, strict=True):
        if _is_list(type_) and not pa.types.is_primitive(type_.value_type):
            column = rows.column(name)
            array = None if column.null_count else _stack(column)
            frame[name] = column.to_pylist() if array is None or array.dtype == object else list(array)
    return frame


@lru_cache(maxsize=16)
def _way(signature: Signature, schema: pa.Schema) -> Literal["columns", "stack"] | None:
    """How rows become an array, by their types; it is asked for each batch, and batches are alike."""
    fields = signature.inputs
    if not fields or any(f.name not in schema.names for f in fields):
        return None
    types = [schema.field(f.name).type for f in fields]
    if any(_innermost(type_) not in _TAKEN.get(f.type, ()) for f, type_ in zip(fields, types, strict=True)):
        return None
    if fields[0].dims and len(fields) == 1:
        return "stack"
    return None if any(f.dims for f in fields) or any(_is_list(type_) for type_ in types) else "columns"


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))


def _innermost(type_: pa.DataType) -> str:
    while _is_list(type_):
        type_ = type_.value_type
    return str(type_)


def _stacked(column: pa.ChunkedArray, field: Field) -> np.ndarray[Any, Any] | None:
    import numpy as np

    array = _stack(column)
    if (
        array is None
        or array.ndim != field.dims + 1
        or (field.shape is not None and not fits_shape(array.shape[1:], field.shape))
    ):
        return None
    kind = {"float": np.float32, "double": np.float32, "boolean": np.bool_}.get(field.type, np.int64)
    return array.astype(kind, copy=False)


def _stack(column: pa.ChunkedArray) -> np.ndarray[Any, Any] | None:
    """Nested lists as one array; None where their lengths differ, or something is null."""
    lists = pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0)
    shape = [len(lists)]
    while _is_list(lists.type):
        lengths = pc.min_max(pc.list_value_length(lists)).as_py()
        if lists.null_count or lengths["min"] is None or lengths["min"] != lengths["max"]:
            return None
        shape.append(lengths["min"])
        lists = pc.list_flatten(lists)
    return None if lists.null_count else lists.to_numpy(zero_copy_only=False).reshape(shape)


def _columns_of(array: np.ndarray[Any, Any], fields: Sequence[Field]) -> list[pa.Array] | None:
    """An array's columns as the fields; None where it takes a frame to say what they are."""
    if any(f.type not in DTYPES for f in fields) or array.dtype.kind not in "fiub":
        return None
    if array.dtype.kind == "f" and any(f.type not in ("float", "double") for f in fields):
        return None
    if len(fields) == 1 and fields[0].dims:
        return [_nested(array, fields[0])] if array.ndim == fields[0].dims + 1 else None
    if array.ndim == 1:
        array = array[:, None]
    if any(f.dims for f in fields) or array.ndim != 2 or array.shape[1] != len(fields):
        return None
    return [pa.array(array[:, i].astype(DTYPES[f.type])) for i, f in enumerate(fields)]


def _nested(array: np.ndarray[Any, Any], field: Field) -> pa.Array:
    import numpy as np

    values = pa.array(array.astype(DTYPES[field.type], copy=False).reshape(-1))
    for at in range(array.ndim - 1, 0, -1):
        n_lists = int(np.prod(array.shape[:at]))
        offsets = np.arange(n_lists + 1, dtype=np.int32) * np.int32(array.shape[at])
        values = pa.ListArray.from_arrays(pa.array(offsets), values)
    return values


def _arrow_column(column: pd.Series[Any], type_: pa.DataType | None) -> pa.Array:
    # NaN that a model computed is its answer; in a column of objects pandas means a gap by it.
    is_object = column.dtype == object
    values = column.tolist() if is_object and type_ is not None and pa.types.is_nested(type_) else column.to_numpy()
    if isinstance(values, list):
        values = [v.tolist() if hasattr(v, "tolist") else v for v in values]
    try:
        return pa.array(values, type=type_, from_pandas=is_object and not isinstance(values, list))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ModelError(f"The model's output `{column.name}` isn't {type_ or 'of one type'}: {error}.") from error
