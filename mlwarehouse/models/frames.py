"""Between frames and what models compute on: examples to frames, columns to tensors, outputs to columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import ModelError, SignatureError
from mlwarehouse.models.signature import Field, Signature, field_of, fields_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

DTYPES = {"boolean": "bool", "integer": "int32", "long": "int64", "float": "float32", "double": "float64"}
"""The pandas dtype of each field type whose values can all be held in one."""


def as_frame(value: Any) -> pd.DataFrame:
    """Example or input data as a frame whose column names are text.

    Args:
        value: A DataFrame; a Series (column ``input`` when it has no name); a mapping of columns; a list of scalars;
            or an array or tensor: one column ``input`` for one dimension, columns ``input_0``, ``input_1``, ... for
            two, and one column ``input`` of lists for more, or for two dimensions of whole numbers (such as token
            ids), which a model looks up rather than computes with.

    Raises:
        SignatureError: It is none of these.
    """
    import numpy as np
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return value.set_axis([str(c) for c in value.columns], axis="columns")
    if isinstance(value, pd.Series):
        return value.to_frame(str(value.name) if value.name is not None else "input")
    if isinstance(value, Mapping):
        columns = {str(name): _cells(as_array(column)) for name, column in value.items()}
        return pd.DataFrame(columns)
    if isinstance(value, list) and value and all(np.isscalar(v) for v in value):
        return pd.DataFrame({"input": value})
    if not (isinstance(value, np.ndarray) or hasattr(value, "detach")):
        raise SignatureError(
            f"Model input of type {type(value).__name__} isn't understood; give a DataFrame, a Series, an array, a "
            "tensor, or a list of values."
        )
    array = as_array(value)
    if array.ndim == 0:
        raise SignatureError("Model input is a single value; give one row for each thing to predict.")
    if array.ndim == 2 and array.dtype.kind not in "iu":
        return pd.DataFrame({f"input_{i}": array[:, i] for i in range(array.shape[1])})
    return pd.DataFrame({"input": _cells(array)})


def conform(frame: pd.DataFrame, signature: Signature) -> pd.DataFrame:
    """The columns that a signature names, in its order and types.

    Args:
        frame: The table; further columns are left out. Columns without names (0, 1, 2, ...) are taken by position.
        signature: What the model takes.

    Raises:
        SignatureError: A column is missing, or has values of another type.
    """
    import pandas as pd

    frame = _named_by_position(frame, signature.inputs)
    frame = frame.set_axis([str(c) for c in frame.columns], axis="columns")
    wanted = [f for f in signature.inputs if f.name in frame.columns]
    narrowed = pd.DataFrame({f.name: _whole_numbers(frame[f.name], f) for f in wanted}, index=frame.index)
    known = {f.name: f.type_name for f in wanted}
    for field in wanted:
        column = narrowed[field.name]
        there = column.notna()
        # A column without any value, as in an empty batch, has no type of its own to compare.
        if there.any():
            known[field.name] = field_of(field.name, column[there].head(100)).type_name
    if signature.inputs:
        signature.check({**dict.fromkeys(frame.columns, "unknown"), **known})
    columns: dict[str, Any] = {}
    for field in signature.inputs:
        if field.name not in narrowed.columns:
            is_object = field.dims or field.type in ("string", "binary", "boolean")
            missing = [None] * len(frame) if is_object else float("nan")
            columns[field.name] = pd.Series(
                missing, index=frame.index, dtype=object if isinstance(missing, list) else None
            )
        else:
            _check_shapes(narrowed[field.name], field)
            columns[field.name] = _typed(narrowed[field.name], field)
    return pd.DataFrame(columns, index=frame.index)


def input_array(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    """What a model without a ``predict`` method is called with.

    Args:
        frame: Columns of numbers, or one column of (nested) lists of numbers.

    Returns:
        float32 of shape [rows, columns]; or, for one column of lists, their stack, whole numbers as int64.

    Raises:
        SignatureError: A column that isn't numbers, lists beside other columns, or lists of different lengths.
    """
    import numpy as np

    fields = fields_of(frame)
    for field in fields:
        if field.type in ("string", "binary"):
            what = "text" if field.type == "string" else "bytes"
            raise SignatureError(
                f"Column `{field.name}` is {what}, which the model can't be called with; give the model a method "
                "`predict(self, frame)` that turns the columns into tensors."
            )
    nested = [f for f in fields if f.dims]
    if not nested:
        return frame.to_numpy(dtype=np.float32)
    if len(fields) > 1:
        raise SignatureError(
            f"Column `{nested[0].name}` holds lists and there are {len(fields) - 1} further columns; give the model a "
            "method `predict(self, frame)` that combines them."
        )
    try:
        stacked = np.stack([np.asarray(cell) for cell in frame.iloc[:, 0]])
    except ValueError:
        raise SignatureError(
            f"The lists in column `{fields[0].name}` have different lengths, so they don't make one tensor; pad them "
            "to one length, or give the model a method `predict(self, frame)` that does."
        ) from None
    kind = {"float": np.float32, "double": np.float32, "boolean": np.bool_}.get(fields[0].type, np.int64)
    return stacked.astype(kind)


def output_frame(value: Any, index: pd.Index[Any], fields: Sequence[Field]) -> pd.DataFrame:
    """What a model returned, as columns.

    Args:
        value: A DataFrame; a Series; a mapping of columns; a list; or an array or tensor of one row per input row.
        index: The index of the input rows.
        fields: The signature's outputs; empty when unknown. They name and type the columns.

    Returns:
        One row per input row. Without `fields`, one output is called ``prediction`` and several ``output_0``,
        ``output_1``, ...; more than two dimensions become a column ``prediction`` of lists.

    Raises:
        ModelError: Another number of rows than were given, other columns than the signature says, or something
            that has no columns.
    """
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        frame = value.set_axis([str(c) for c in value.columns], axis="columns")
    elif isinstance(value, Mapping):
        frame = pd.DataFrame({str(name): _cells(as_array(column)) for name, column in value.items()})
    elif isinstance(value, tuple):
        raise ModelError(
            f"The model returned a tuple of {len(value)} things, and a prediction is columns; give it a method "
            "`predict(self, frame)` that returns an array or a DataFrame."
        )
    else:
        name = str(value.name) if isinstance(value, pd.Series) and value.name is not None else "prediction"
        frame = _array_frame(as_array(value), name, fields)
    if len(frame) != len(index):
        raise ModelError(f"The model returned {len(frame)} rows for {len(index)}; it must return one for each.")
    missing = [f.name for f in fields if f.name not in frame.columns]
    if missing:
        raise ModelError(
            f"The model returned the columns {', '.join(frame.columns)}, and its signature promises "
            f"{', '.join(f.name for f in fields)}."
        )
    if fields:
        frame = pd.DataFrame({f.name: _typed(frame[f.name], f) for f in fields})
    return frame.set_axis(index, axis="index")


def empty_outputs(index: pd.Index[Any], fields: Sequence[Field]) -> pd.DataFrame:
    """No rows, in the signature's output columns and types."""
    import pandas as pd

    return pd.DataFrame({f.name: _typed(pd.Series([], dtype=object), f) for f in fields}, index=index)


def as_array(value: Any) -> np.ndarray[Any, Any]:
    """An array, a tensor or a list as an array on the CPU."""
    import numpy as np

    if hasattr(value, "detach"):
        tensor = value.detach().cpu()
        # numpy knows no bfloat16.
        return np.asarray((tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy())
    return np.asarray(value)


def _cells(array: np.ndarray[Any, Any]) -> Any:
    return array if array.ndim <= 1 else list(array)


def _array_frame(array: np.ndarray[Any, Any], name: str, fields: Sequence[Field]) -> pd.DataFrame:
    import pandas as pd

    if array.ndim == 0:
        raise ModelError("The model returned a single value; it must return one row for each input row.")
    if array.ndim == 2 and array.shape[1] == 1 and not (fields and fields[0].dims):
        array = array[:, 0]
    if array.ndim == 1 or array.ndim > 2 or (len(fields) == 1 and fields[0].dims):
        if len(fields) > 1:
            raise ModelError(f"The model returned one column, and its signature promises {len(fields)}.")
        return pd.DataFrame({fields[0].name if fields else name: _cells(array)})
    if fields and len(fields) != array.shape[1]:
        raise ModelError(f"The model returned {array.shape[1]} columns, and its signature promises {len(fields)}.")
    names = [f.name for f in fields] or [f"output_{i}" for i in range(array.shape[1])]
    return pd.DataFrame({n: array[:, i] for i, n in enumerate(names)})


def _named_by_position(frame: pd.DataFrame, fields: Sequence[Field]) -> pd.DataFrame:
    import pandas as pd

    columns: object = frame.columns
    if not isinstance(columns, pd.RangeIndex) or any(f.name in columns.astype(str) for f in fields):
        return frame
    if len(frame.columns) == len(fields):
        return frame.set_axis([f.name for f in fields], axis="columns")
    if len(fields) == 1 and fields[0].dims == 1:
        return pd.DataFrame({fields[0].name: list(frame.to_numpy())}, index=frame.index)
    return frame


def _whole_numbers(column: pd.Series[Any], field: Field) -> pd.Series[Any]:
    """Whole numbers that pandas holds as fractions, because one is missing, as what they are."""
    if field.dims or field.type not in ("integer", "long") or column.dtype.kind != "f":
        return column
    there = column.dropna()
    return column.astype("Int64") if bool((there == there.round()).all()) else column


def _check_shapes(column: pd.Series[Any], field: Field) -> None:
    """Whether each cell has the shape that its field says."""
    import numpy as np

    if field.shape is None:
        return
    for row, cell in enumerate(column):
        if cell is None:
            continue
        try:
            shape = np.shape(cell)
        except ValueError:
            raise SignatureError(
                f"Column `{field.name}` has a cell that holds lists of different lengths, in row {row + 1}."
            ) from None
        if not fits_shape(shape, field.shape):
            raise SignatureError(wrong_shape(field, shape, row))


def fits_shape(found: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether lengths are those wanted, of which -1 is any."""
    return len(found) == len(wanted) and all(w in (-1, f) for f, w in zip(found, wanted, strict=True))


def wrong_shape(field: Field, found: Sequence[int], row: int) -> str:
    """What is said of a cell of another shape than its field's."""
    return (
        f"Column `{field.name}` has the shape {list(found)} in row {row + 1}, and the model takes "
        f"{list(field.shape or ())}."
    )


def _typed(column: pd.Series[Any], field: Field) -> pd.Series[Any]:
    gaps = bool(column.isna().any())
    if field.dims or field.type in ("string", "binary") or (field.type == "boolean" and gaps):
        return column if column.notna().any() else column.astype(object).where(column.notna(), None)
    dtype = "float64" if field.type in ("integer", "long") and gaps else DTYPES[field.type]
    return column.astype(dtype)  # type: ignore[call-overload,no-any-return]
