"""Columns of numbers from Arrow to an array, without a frame between: what most of a fast model's time goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlwarehouse.models.frames import DTYPES
from mlwarehouse.models.signature import Signature

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_SMALL = ("int8", "int16", "int32", "uint8", "uint16")
_WHOLE = (*_SMALL, "int64", "uint32")
_ANY = (*_WHOLE, "halffloat", "float", "double")
_TAKEN = {"integer": _SMALL, "long": _WHOLE, "float": _ANY, "double": _ANY}
"""Arrow's types that a field takes as a signature does, by the field's type."""


def column_array(rows: pa.Table, signature: Signature | None) -> np.ndarray[Any, Any] | None:
    """The columns of a signature as one array; the same numbers, in the same layout, as by way of a frame.

    Args:
        rows: The rows; further columns are left out.
        signature: What the model takes.

    Returns:
        float32 of shape [rows, columns], a column after the other in memory; None where a column has no plain numbers,
        lacks one, or isn't there, so that a frame must be made.
    """
    import numpy as np

    if signature is None or not signature.inputs:
        return None
    columns = []
    for field in signature.inputs:
        if field.dims or field.name not in rows.column_names:
            return None
        column = rows.column(field.name)
        if str(column.type) not in _TAKEN.get(field.type, ()) or column.null_count:
            return None
        columns.append(column)
    array = np.empty((len(columns), rows.num_rows), dtype=np.float32)
    for place, field, column in zip(array, signature.inputs, columns, strict=True):
        at = 0
        for chunk in column.chunks:
            # By the field's own type, whose rounding the frame's column would have.
            place[at : at + len(chunk)] = chunk.to_numpy().astype(DTYPES[field.type], copy=False)
            at += len(chunk)
    return array.T
