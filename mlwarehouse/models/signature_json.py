"""Signatures as MLflow writes them into ``MLmodel`` files: lists of columns, or of tensors.

MLflow knows columns of values and of lists without lengths, or tensors of numbers with shapes, and mixes neither. So
fields with shapes are written as tensors where all fields can be, and else as columns, with the shapes in an entry of
our own beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlwarehouse.models.signature import NUMPY_TYPES, TYPES, Field, Signature

if TYPE_CHECKING:
    from mlwarehouse.models.signature import FieldType

_DTYPES: Mapping[FieldType, str] = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
}
_SHAPES = "shapes"


def to_json(signature: Signature) -> dict[str, str | None]:
    """A signature as the ``signature`` entry of an ``MLmodel`` file."""
    entry: dict[str, str | None] = {
        "inputs": json.dumps(_fields_to_json(signature.inputs)),
        "outputs": json.dumps(_fields_to_json(signature.outputs)) if signature.outputs else None,
        "params": None,
    }
    shapes = {
        part: {f.name: f.shape for f in fields if f.shape is not None}
        for part, fields in (("inputs", signature.inputs), ("outputs", signature.outputs))
        if not _are_tensors(fields)
    }
    shapes = {part: known for part, known in shapes.items() if known}
    return {**entry, _SHAPES: json.dumps(shapes)} if shapes else entry


def from_json(entry: Mapping[str, Any] | None) -> Signature | None:
    """The signature of an ``MLmodel`` file, see `Signature.from_mlflow`."""
    if not entry or not entry.get("inputs"):
        return None
    try:
        shapes = json.loads(entry.get(_SHAPES) or "{}")
        inputs = _fields_from_json(entry["inputs"], "input", shapes.get("inputs", {}))
        outputs = _fields_from_json(entry.get("outputs") or "[]", "output", shapes.get("outputs", {}))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if inputs is None:
        return None
    known = outputs or ()
    if len(known) == 1 and known[0].name == "output_0":
        known = (Field("prediction", known[0].type, known[0].dims, shape=known[0].shape),)
    return Signature(inputs, known)


def _are_tensors(fields: Sequence[Field]) -> bool:
    return any(f.shape is not None for f in fields) and all(f.type in _DTYPES and f.required for f in fields)


def _fields_to_json(fields: Sequence[Field]) -> list[dict[str, Any]]:
    return [(_tensor_to_json if _are_tensors(fields) else _column_to_json)(f) for f in fields]


def _column_to_json(field: Field) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": field.type}
    for _ in range(field.dims):
        kind = {"type": "array", "items": kind}
    return {**kind, "name": field.name, "required": field.required}


def _tensor_to_json(field: Field) -> dict[str, Any]:
    # The first dimension is that of the rows.
    spec = {"dtype": _DTYPES[field.type], "shape": [-1, *(field.shape or [-1] * field.dims)]}
    return {"type": "tensor", "tensor-spec": spec, "name": field.name}


def _fields_from_json(text: str, prefix: str, shapes: Mapping[str, Sequence[int]]) -> tuple[Field, ...] | None:
    """The fields; None where a table's columns can't be one of them."""
    fields = [_field_from_json(item, f"{prefix}_{i}", shapes) for i, item in enumerate(json.loads(text))]
    known = tuple(f for f in fields if f is not None)
    return known if len(known) == len(fields) else None


def _field_from_json(item: Mapping[str, Any], default_name: str, shapes: Mapping[str, Sequence[int]]) -> Field | None:
    name, required = str(item.get("name") or default_name), bool(item.get("required", True))
    if item["type"] == "tensor":
        spec = item["tensor-spec"]
        kind = NUMPY_TYPES.get(str(spec["dtype"]), "string" if str(spec["dtype"]) in ("str", "object") else None)
        shape = tuple(int(n) for n in spec["shape"][1:])
        return None if kind is None else Field(name, kind, len(shape), shape=shape or None)
    dims = 0
    while item["type"] == "array":
        item = item["items"]
        dims += 1
    for known in TYPES:
        if item["type"] == known:
            return Field(name, known, dims, required, tuple(shapes[name]) if name in shapes else None)
    return None
