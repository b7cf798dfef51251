"""Signatures: which columns a model takes and gives, in MLflow's JSON form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mlwarehouse.errors import SignatureError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

FieldType = Literal["string", "long", "integer", "double", "float", "boolean", "binary"]
"""The types of values; the names are MLflow's and Spark's."""

TYPES: tuple[FieldType, ...] = ("string", "long", "integer", "double", "float", "boolean", "binary")

_WIDER: dict[str, frozenset[str]] = {
    "integer": frozenset({"integer", "long", "float", "double"}),
    "long": frozenset({"long", "float", "double"}),
    # A table's fractions are doubles even where the model computes in single precision.
    "float": frozenset({"float", "double"}),
    "double": frozenset({"double", "float"}),
    "boolean": frozenset({"boolean"}),
    "string": frozenset({"string"}),
    "binary": frozenset({"binary"}),
}
"""For each type of a column, the field types that take it."""

_OTHER_NAMES = {"int": "integer", "smallint": "integer", "short": "integer", "tinyint": "integer", "byte": "integer"}
_OTHER_NAMES |= {"blob": "binary", "varbinary": "binary", "bytes": "binary"}
_OTHER_NAMES |= {"bigint": "long", "bool": "boolean", "str": "string", "varchar": "string"}

NUMPY_TYPES: dict[str, FieldType] = {
    "bool": "boolean",
    "int8": "integer",
    "int16": "integer",
    "int32": "integer",
    "uint8": "integer",
    "uint16": "integer",
    "int64": "long",
    "uint32": "long",
    "uint64": "long",
    "float16": "float",
    "float32": "float",
    "float64": "double",
}
"""The field type of each of numpy's types."""


@dataclass(frozen=True)
class Field:
    """One column of a model's input or output.

    Attributes:
        name: The column.
        type: The type of its values.
        dims: 0 for a plain column; n for a column whose cells are lists nested n deep, such as an image's pixels.
        required: Whether a table without the column is refused.
        shape: How long the lists of each dimension are, such as ``(28, 28)``, with -1 for any length; None when
            nothing is said of it. It also says what `dims` is.
    """

    name: str
    type: FieldType
    dims: int = 0
    required: bool = True
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Check the shape, and count its dimensions where `dims` doesn't.

        Raises:
            SignatureError: It says other dimensions than `dims`, or has lengths that no list has.
        """
        if self.shape is None:
            return
        shape = tuple(self.shape)
        are_lengths = all(isinstance(n, int) and (n > 0 or n == -1) for n in shape)
        if self.dims not in (0, len(shape)) or not shape or not are_lengths:
            raise SignatureError(
                f"The shape of `{self.name}` is {self.shape} with dims={self.dims}; give the length of each dimension "
                "of a cell, such as shape=(28, 28), and -1 for any length."
            )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dims", len(shape))

    @property
    def type_name(self) -> str:
        """The type as text: ``double``, or ``array<double>`` when its cells are lists."""
        return "array<" * self.dims + self.type + ">" * self.dims


@dataclass(frozen=True)
class Signature:
    """The columns a model takes and gives.

    Attributes:
        inputs: Its input columns; a model without a ``predict`` method gets them stacked in this order.
        outputs: Its output columns; empty when unknown.
    """

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...] = ()

    def check(self, columns: Mapping[str, str]) -> None:
        """Check a table's columns before anything is computed.

        Args:
            columns: Type by column name: the names of `FieldType`, or ``array<...>`` of them; Spark's and SQL's
                short names (``int``, ``bigint``, ``smallint``) are understood.

        Raises:
            SignatureError: A required column is missing, or one has a type that the field doesn't take without loss.
        """
        for field in self.inputs:
            if field.name not in columns:
                if field.required:
                    raise SignatureError(
                        f"The model needs a column `{field.name}` of type {field.type_name}, and the table has "
                        f"{_listed(columns)}.{did_you_mean(field.name, columns)}"
                    )
                continue
            found, dims = _parsed(columns[field.name])
            if dims != field.dims or field.type not in _WIDER.get(found, ()):
                raise SignatureError(
                    f"Column `{field.name}` is {columns[field.name]} and the model takes {field.type_name}; cast it "
                    "first."
                )

    def to_mlflow(self) -> dict[str, str | None]:
        """The ``signature`` entry of an ``MLmodel`` file; fields with shapes are tensors there."""
        from mlwarehouse.models.signature_json import to_json

        return to_json(self)

    @classmethod
    def from_mlflow(cls, entry: Mapping[str, Any] | None) -> Signature | None:
        """Read the ``signature`` entry of an ``MLmodel`` file.

        Returns:
            The signature; None when there is none, or one that a table's columns can't express (dates, maps).
        """
        from mlwarehouse.models.signature_json import from_json

        return from_json(entry)


def infer_signature(inputs: Any, outputs: Any = None) -> Signature:
    """Infer a signature from example data.

    Args:
        inputs: A DataFrame, Series, array or tensor, or a list of scalars; see `mlwarehouse.models.frames.as_frame`
            for how an array's columns are named.
        outputs: What the model gave for them, or None when unknown.

    Returns:
        The signature.

    Raises:
        SignatureError: A column's values have no common type among `FieldType`.
    """
    from mlwarehouse.models.frames import as_frame, output_frame

    frame = as_frame(inputs)
    given = fields_of(frame)
    if outputs is None:
        return Signature(given)
    return Signature(given, fields_of(output_frame(outputs, frame.index, ())))


def fields_of(frame: pd.DataFrame) -> tuple[Field, ...]:
    """The fields that a frame's columns are.

    Raises:
        SignatureError: A column's values have no common type among `FieldType`.
    """
    return tuple(field_of(str(name), frame[name]) for name in frame.columns)


def field_of(name: str, column: pd.Series[Any]) -> Field:
    """The field that a column is, by its type, and by its values where the type says only that they are objects.

    Raises:
        SignatureError: Its values have no common type among `FieldType`.
    """
    import numpy as np
    import pandas as pd

    kind = str(column.dtype).lower()
    if kind in NUMPY_TYPES:
        return Field(name, NUMPY_TYPES[kind])
    if kind == "boolean":
        return Field(name, "boolean")
    values = column.dropna() if column.dtype == object else column
    if isinstance(column.dtype, pd.StringDtype) or (len(values) and all(isinstance(v, str) for v in values)):
        return Field(name, "string")
    if len(values) and all(isinstance(v, bytes | bytearray) for v in values):
        return Field(name, "binary")
    if len(values) and all(isinstance(v, bool | np.bool_) for v in values):
        return Field(name, "boolean")
    if len(values) and all(isinstance(v, list | tuple | np.ndarray) for v in values):
        try:
            cell = np.asarray(values.iloc[0])
        except ValueError:
            raise SignatureError(f"Column `{name}` has a cell that holds lists of different lengths.") from None
        if cell.dtype.kind == "U":
            return Field(name, "string", cell.ndim)
        if str(cell.dtype) in NUMPY_TYPES:
            inner = NUMPY_TYPES[str(cell.dtype)]
            # Lists hold Python's numbers, which are doubles; MLflow would refuse them where single precision is said.
            return Field(name, "double" if inner == "float" else inner, cell.ndim)
    raise SignatureError(
        f"Column `{name}` holds {column.dtype} values without one common type; a model's columns are "
        f"{', '.join(TYPES)}, or lists of these."
    )


def _parsed(type_name: str) -> tuple[str, int]:
    text = type_name.strip().lower()
    dims = 0
    while match := re.fullmatch(r"array<(.*)>", text):
        text = match.group(1).strip()
        dims += 1
    return _OTHER_NAMES.get(text, text), dims


def _listed(columns: Mapping[str, str]) -> str:
    names = [f"`{c}`" for c in columns]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") if names else "none"
