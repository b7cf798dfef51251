"""Signatures: which columns a model takes and gives, in MLflow's JSON form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mlwarehouse.errors import SignatureError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

FieldType = Literal["string", "long", "integer", "double", "float", "boolean"]
"""The types of values; the names are MLflow's and Spark's."""

TYPES: tuple[FieldType, ...] = ("string", "long", "integer", "double", "float", "boolean")

_WIDER: dict[str, frozenset[str]] = {
    "integer": frozenset({"integer", "long", "float", "double"}),
    "long": frozenset({"long", "float", "double"}),
    # A table's fractions are doubles even where the model computes in single precision.
    "float": frozenset({"float", "double"}),
    "double": frozenset({"double", "float"}),
    "boolean": frozenset({"boolean"}),
    "string": frozenset({"string"}),
}
"""For each type of a column, the field types that take it."""

_OTHER_NAMES = {"int": "integer", "smallint": "integer", "short": "integer", "tinyint": "integer", "byte": "integer"}
_OTHER_NAMES |= {"bigint": "long", "bool": "boolean", "str": "string", "varchar": "string"}

_NUMPY_TYPES: dict[str, FieldType] = {
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


@dataclass(frozen=True)
class Field:
    """One column of a model's input or output.

    Attributes:
        name: The column.
        type: The type of its values.
        dims: 0 for a plain column; n for a column whose cells are lists nested n deep, such as an image's pixels.
        required: Whether a table without the column is refused.
    """

    name: str
    type: FieldType
    dims: int = 0
    required: bool = True

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
        """The ``signature`` entry of an ``MLmodel`` file."""
        return {
            "inputs": json.dumps([_to_json(f) for f in self.inputs]),
            "outputs": json.dumps([_to_json(f) for f in self.outputs]) if self.outputs else None,
            "params": None,
        }

    @classmethod
    def from_mlflow(cls, entry: Mapping[str, Any] | None) -> Signature | None:
        """Read the ``signature`` entry of an ``MLmodel`` file.

        Returns:
            The signature; None when there is none, or one that a table's columns can't express (dates, bytes, maps).
        """
        if not entry or not entry.get("inputs"):
            return None
        try:
            inputs = [_from_json(item, f"input_{i}") for i, item in enumerate(json.loads(entry["inputs"]))]
            outputs = [
                _from_json(item, f"output_{i}") for i, item in enumerate(json.loads(entry.get("outputs") or "[]"))
            ]
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        known_inputs = tuple(f for f in inputs if f is not None)
        known_outputs = tuple(f for f in outputs if f is not None)
        if len(known_inputs) != len(inputs):
            return None
        if len(known_outputs) != len(outputs):
            known_outputs = ()
        if len(known_outputs) == 1 and known_outputs[0].name == "output_0":
            known_outputs = (Field("prediction", known_outputs[0].type, known_outputs[0].dims),)
        return cls(known_inputs, known_outputs)


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
    if kind in _NUMPY_TYPES:
        return Field(name, _NUMPY_TYPES[kind])
    if kind == "boolean":
        return Field(name, "boolean")
    values = column.dropna() if column.dtype == object else column
    if isinstance(column.dtype, pd.StringDtype) or (len(values) and all(isinstance(v, str) for v in values)):
        return Field(name, "string")
    if len(values) and all(isinstance(v, bool | np.bool_) for v in values):
        return Field(name, "boolean")
    if len(values) and all(isinstance(v, list | tuple | np.ndarray) for v in values):
        cell = np.asarray(values.iloc[0])
        if cell.dtype.kind == "U":
            return Field(name, "string", cell.ndim)
        if str(cell.dtype) in _NUMPY_TYPES:
            inner = _NUMPY_TYPES[str(cell.dtype)]
            # Lists hold Python's numbers, which are doubles; MLflow would refuse them where single precision is said.
            return Field(name, "double" if inner == "float" else inner, cell.ndim)
    raise SignatureError(
        f"Column `{name}` holds {column.dtype} values without one common type; a model's columns are "
        f"{', '.join(TYPES)}, or lists of these."
    )


def _to_json(field: Field) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": field.type}
    for _ in range(field.dims):
        kind = {"type": "array", "items": kind}
    return {**kind, "name": field.name, "required": field.required}


def _from_json(item: Mapping[str, Any], default_name: str) -> Field | None:
    name, required = str(item.get("name") or default_name), bool(item.get("required", True))
    if item["type"] == "tensor":
        spec = item["tensor-spec"]
        kind = _NUMPY_TYPES.get(str(spec["dtype"]), "string" if str(spec["dtype"]) in ("str", "object") else None)
        return None if kind is None else Field(name, kind, max(len(spec["shape"]) - 1, 0))
    dims = 0
    while item["type"] == "array":
        item = item["items"]
        dims += 1
    for known in TYPES:
        if item["type"] == known:
            return Field(name, known, dims, required)
    return None


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
