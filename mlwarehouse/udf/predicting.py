"""Predictions of Arrow rows: what a Spark worker does with a batch, and `score_batches` here.

A row with a null in a column that the model requires isn't given to the model: its outputs are null. NaN is a value
and is given. Optional columns are passed on with their nulls. A row that the model fails on is found by `bad_rows`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.errors import ModelError, SignatureError
from mlwarehouse.models import Predictor, Signature
from mlwarehouse.models.arrow_rows import ARROW_TYPES, arrow_type
from mlwarehouse.udf.bad_rows import OnError, predict_around
from mlwarehouse.udf.batch_size import BatchSize

_SMALL = (pa.int8(), pa.int16(), pa.uint8(), pa.uint16())
_NAMES = {type_: name for name, type_ in ARROW_TYPES.items()} | dict.fromkeys(_SMALL, "integer") | {pa.uint32(): "long"}


def type_name(type_: pa.DataType) -> str:
    """An Arrow type in the words of a signature; its own name where a signature has no word for it."""
    if pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_):
        return f"array<{type_name(type_.value_type)}>"
    if pa.types.is_dictionary(type_):
        return type_name(type_.value_type)
    if pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return "string"
    if pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_) or pa.types.is_binary_view(type_):
        return "binary"
    return str(_NAMES.get(type_, type_))


@lru_cache(maxsize=16)
def check_columns(signature: Signature | None, schema: pa.Schema) -> None:
    """Check a table's columns against a signature; asked again of batches that are alike it knows.

    Raises:
        SignatureError: A required column is missing, or one has a type that the model doesn't take.
    """
    if signature is not None:
        # A column of nulls alone, such as a literal, has no type of its own; its rows aren't given to the model.
        wanted = {f.name: f.type_name for f in signature.inputs}
        signature.check(
            {f.name: wanted.get(f.name, "null") if pa.types.is_null(f.type) else type_name(f.type) for f in schema}
        )


@dataclass(frozen=True)
class Predicted:
    """What became of rows.

    Attributes:
        outputs: The model's output columns, one row for each row, null where there is no prediction; None where no row
            was predicted and the signature doesn't say what the outputs are.
        errors: Why a row has no prediction, as text; null for those that have one.
        n_lacking: How many rows lack a required value, so that the model wasn't asked.
        n_failed: How many rows the model failed on.
    """

    outputs: pa.Table | None
    errors: pa.Array
    n_lacking: int
    n_failed: int


def predict_rows(predictor: Predictor, rows: pa.Table, *, batch_rows: int | None = None) -> pa.Table:
    """Predict a table.

    Args:
        predictor: The model.
        rows: Its input columns by name; others are ignored when the model has a signature.
        batch_rows: At most so many rows are given to the model at once; all of them when None.

    Returns:
        The model's output columns, one row for each row, null for rows that lack a required value.

    Raises:
        SignatureError: A column is missing or of the wrong type.
        ModelError: The model failed, or no row could tell the outputs of a model without a signature.
    """
    outputs = try_rows(predictor, rows, batch_rows=batch_rows).outputs
    if outputs is None:
        raise ModelError(
            f"None of {rows.num_rows} rows has a value in each column, and the model's signature names no outputs, so "
            "it isn't known what to return; save the model with an input example."
        )
    return outputs


def try_rows(
    predictor: Predictor,
    rows: pa.Table,
    *,
    batch_rows: int | None = None,
    size: BatchSize | None = None,
    on_error: OnError = "raise",
) -> Predicted:
    """Predict a table, and tell what became of the rows that have no prediction.

    Args:
        predictor: The model.
        rows: See `predict_rows`.
        batch_rows: See `predict_rows`.
        size: Says how many rows are given to the model at once, and learns how long they took; wins over `batch_rows`.
        on_error: What becomes of rows that the model fails on; see `predict_around`.

    Raises:
        SignatureError: A column is missing or of the wrong type.
        ModelError: The model failed on a row and `on_error` is ``raise``.
    """
    check_columns(predictor.signature, rows.schema)
    lacks = _why_lacking(predictor.signature, rows)
    is_given = pc.is_null(lacks)
    given = rows.filter(is_given) if lacks.null_count < rows.num_rows else rows
    outputs = predictor.signature.outputs if predictor.signature is not None else ()
    size = size or BatchSize(batch_rows or max(given.num_rows, 1))
    good: list[pa.Table] = []
    bad: dict[int, str] = {}
    at = 0
    while at < given.num_rows:
        part = given.slice(at, size.of(given))
        begun = time.perf_counter()
        parts, failed = predict_around(predictor.predict_rows, part, on_error)
        size.took(part.num_rows, time.perf_counter() - begun)
        good += parts
        bad |= {at + place: error for place, error in failed.items()}
        at += part.num_rows
    n_lacking = rows.num_rows - given.num_rows
    if good:
        found = pa.concat_tables(good)
    elif outputs:
        found = pa.schema([(f.name, arrow_type(f)) for f in outputs]).empty_table()
    else:
        return Predicted(None, _errors(lacks, is_given, bad), n_lacking, len(bad))
    if found.num_rows == rows.num_rows:
        return Predicted(found, lacks, 0, 0)
    errors = _errors(lacks, is_given, bad)
    # Each row without an error takes the next prediction; the others take null.
    is_good = pc.is_null(errors)
    numbers = pc.subtract(pc.cumulative_sum(is_good.cast(pa.int64())), 1)
    places = pc.if_else(is_good, numbers, pa.scalar(None, pa.int64()))
    return Predicted(found.take(places), errors, n_lacking, len(bad))


def predict_batches(
    predictor: Predictor,
    batches: Iterator[tuple[pa.Array, ...]],
    names: Sequence[str],
    result_type: pa.DataType,
    *,
    size: BatchSize | None = None,
    on_error: OnError = "raise",
    count: Callable[[int, int, int], None] | None = None,
) -> Iterator[pa.Array]:
    """Predict batch after batch, each as one array of the type that the caller promised.

    Args:
        predictor: The model.
        batches: A tuple of columns each; one column that is a struct stands for its fields.
        names: The columns' names; none for ``input_0``, ``input_1``, ...
        result_type: The first output is cast to it; a struct takes outputs by name.
        size: See `try_rows`; None means that each batch is given as it comes.
        on_error: What becomes of rows that the model fails on. With ``return`` the result type is a struct of
            ``prediction`` and ``error``.
        count: Is told of each batch how many rows it had, how many lacked a value, and how many the model failed on.

    Yields:
        One value for each row.

    Raises:
        SignatureError: A column is missing or of the wrong type.
        ModelError: The model failed, or lacks an output of the promised struct.
    """
    value_type = result_type.field(0).type if on_error == "return" else result_type
    for columns in batches:
        rows = _table(columns, names)
        if not rows.num_rows:
            yield pa.nulls(0, result_type)
            continue
        made = try_rows(predictor, rows, size=size, on_error=on_error)
        values = pa.nulls(rows.num_rows, value_type) if made.outputs is None else _as_type(made.outputs, value_type)
        if count is not None:
            count(rows.num_rows, made.n_lacking, made.n_failed)
        if on_error == "return":
            yield pa.StructArray.from_arrays([values, made.errors], fields=list(result_type))
        else:
            yield values


def _table(columns: tuple[pa.Array, ...], names: Sequence[str]) -> pa.Table:
    if len(columns) == 1 and pa.types.is_struct(columns[0].type):
        struct = columns[0]
        return pa.table({f.name: pc.struct_field(struct, f.name) for f in struct.type})
    if names and len(names) != len(columns):
        raise SignatureError(
            f"The model takes {len(names)} columns ({', '.join(names)}) and was called with {len(columns)}."
        )
    return pa.table(dict(zip(names or [f"input_{i}" for i in range(len(columns))], columns, strict=True)))


def _why_lacking(signature: Signature | None, rows: pa.Table) -> pa.Array:
    """Which required column each row has no value in, as a sentence; null for rows that have them all."""
    required = rows.column_names if signature is None else [f.name for f in signature.inputs if f.required]
    why = pa.nulls(rows.num_rows, pa.string())
    for name in reversed(required):
        column = rows.column(name)
        if column.null_count:
            why = pc.if_else(pc.is_null(column), f"Column `{name}` is null, and the model needs a value.", why)
    return why.combine_chunks() if isinstance(why, pa.ChunkedArray) else why


def _errors(lacks: pa.Array, is_given: pa.Array, bad: Mapping[int, str]) -> pa.Array:
    """Why each row has no prediction; the bad rows are known by their places among those that were given."""
    if not bad:
        return lacks
    places = pc.indices_nonzero(is_given)
    failed: list[str | None] = [None] * len(lacks)
    for place, error in bad.items():
        failed[places[place].as_py()] = error
    return pc.coalesce(lacks, pa.array(failed, pa.string()))


def _as_type(found: pa.Table, result_type: pa.DataType) -> pa.Array:
    found = found.combine_chunks()
    try:
        if not pa.types.is_struct(result_type):
            return _one(found.column(0)).cast(result_type)
        missing = [f.name for f in result_type if f.name not in found.column_names]
        if missing:
            raise ModelError(
                f"The model has no output `{missing[0]}`; its outputs are {', '.join(found.column_names)}."
            )
        return pa.StructArray.from_arrays(
            [_one(found.column(f.name)).cast(f.type) for f in result_type], fields=list(result_type)
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ModelError(f"The model's output can't be given as {result_type}: {error}.") from error


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.nulls(0, column.type)])
