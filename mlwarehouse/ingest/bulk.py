"""Many metric points at once: arrays and frames straight to rows of `metrics`, past the spool.

Everything is checked before anything is written, by vector operations: distinct texts are looked at once, and no point
by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.ingest.values import context_text
from mlwarehouse.tables import METRICS

if TYPE_CHECKING:
    import numpy.typing as npt

COLUMNS: tuple[str, ...] = ("run_id", "key", "step", "value", "timestamp", "context", "attempt")
"""The columns that points may have; `timestamp`, `context` and `attempt` may be left out."""

_TIME = pa.timestamp("us", tz="UTC")
_CODED = pa.dictionary(pa.int32(), pa.string())


def metric_rows(
    points: Any,
    *,
    run_id: str | None,
    key: str | None,
    writer_id: str,
    recorded_at: int,
    attempts_of: Callable[[Sequence[str]], Mapping[str, int]],
) -> pa.Table:
    """Check points and make them rows of `metrics`.

    Args:
        points: An Arrow, pandas or Polars table, or arrays by column name; columns as in `COLUMNS`.
        run_id: The run of all points, in place of the column.
        key: The metric of all points, in place of the column.
        writer_id: Who writes them.
        recorded_at: Microseconds since the epoch; also the time of points that have none.
        attempts_of: The current attempts of runs; raises where one isn't there.

    Returns:
        Rows in the order of the table's files.

    Raises:
        InvalidInputError: A column is missing, unknown, of the wrong type, or lacks values.
    """
    columns = _columns(points)
    for name, given in (("run_id", run_id), ("key", key)):
        if given is not None:
            if name in columns:
                raise InvalidInputError(f"Points have a column `{name}`, and `{name}` was given too; leave one out.")
            columns[name] = pa.scalar(given, pa.string())
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown:
        raise InvalidInputError(
            f"Points have a column `{unknown[0]}`, which isn't known; the columns are {', '.join(COLUMNS)}."
            f"{did_you_mean(unknown[0], COLUMNS)}"
        )
    missing = [name for name in ("run_id", "key", "step", "value") if name not in columns]
    if missing:
        raise InvalidInputError(f"Points lack the column `{missing[0]}`; they have {', '.join(columns) or 'none'}.")
    n = len(columns["step"])
    runs, keys = (_text(name, columns[name], n) for name in ("run_id", "key"))
    context = _context(columns.get("context"), n)
    if "attempt" in columns:
        attempt = _whole("attempt", columns["attempt"], pa.int32())
        attempts_of(runs.dictionary.to_pylist())
    else:
        found = attempts_of(runs.dictionary.to_pylist())
        by_code = np.array([found[r] for r in runs.dictionary.to_pylist()], np.int32)
        attempt = pa.array(by_code[runs.indices.to_numpy()] if n else np.zeros(0, np.int32))
    arrays = {
        "run_id": runs,
        "key": keys,
        "step": _whole("step", columns["step"], pa.int64()),
        "value": _values(columns["value"]),
        "context": context,
        "attempt": attempt,
        "event_at": _times(columns.get("timestamp"), n, recorded_at),
    }
    order = _order(runs, keys)
    if order is not None:
        arrays = {name: array.take(order) for name, array in arrays.items()}
    arrays["recorded_at"] = pa.array(np.full(n, recorded_at, np.int64)).cast(_TIME)
    arrays["writer_id"] = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([writer_id]))
    arrays["writer_seq"] = pa.array(np.arange(n, dtype=np.int64))
    return pa.table([arrays[c.name] for c in METRICS.all_columns], names=[c.name for c in METRICS.all_columns])


def _columns(points: Any) -> dict[str, Any]:
    """The points' columns as Arrow arrays, by name."""
    kind = type(points).__module__.partition(".")[0]
    try:
        if isinstance(points, pa.Table | pa.RecordBatch):
            table = points
        elif kind == "pandas" and hasattr(points, "columns"):
            # By way of numpy: Arrow takes the NaN of a pandas column for a missing value, and here it is a value.
            table = pa.table(
                {str(c): pa.array(a if (a := points[c].to_numpy()).dtype.kind == "f" else points[c]) for c in points}
            )
        elif kind == "polars" and hasattr(points, "to_arrow"):
            table = points.to_arrow()
        elif isinstance(points, Mapping):
            table = pa.table({str(name): pa.array(values) for name, values in points.items()})
        else:
            raise InvalidInputError(
                f"Points of type {type(points).__name__} can't be logged; pass an Arrow, pandas or Polars table, or "
                "arrays by column name."
            )
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidInputError(f"Points can't be taken as columns of one length and type each: {error}.") from error
    if len(set(table.column_names)) < table.num_columns:
        raise InvalidInputError(f"Points have a column twice; they have {', '.join(table.column_names)}.")
    return {
        name: column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


def _text(name: str, column: Any, n: int) -> pa.DictionaryArray:
    """A column of text, dictionary-encoded; every row has one that isn't empty."""
    if isinstance(column, pa.Scalar):
        coded = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([column.as_py()], pa.string()))
    else:
        coded = _encoded(name, column)
        _refuse_nulls(name, coded)
    if "" in coded.dictionary.to_pylist():
        raise InvalidInputError(f"Column `{name}` of the points has an empty text; it must name something.")
    return coded


def _encoded(name: str, column: pa.Array) -> pa.DictionaryArray:
    value_type = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    is_text = pa.types.is_string(value_type) or pa.types.is_large_string(value_type)
    if not is_text and not pa.types.is_string_view(value_type) and not pa.types.is_null(value_type):
        raise InvalidInputError(f"Column `{name}` of the points must be text; got {column.type}.")
    if pa.types.is_dictionary(column.type):
        # Decoded and encoded again: a dictionary may hold texts twice, or texts that no row has.
        column = column.cast(value_type)
    return column.cast(pa.string()).dictionary_encode().cast(_CODED)


def _context(column: pa.Array | None, n: int) -> pa.Array:
    if column is None:
        return pa.nulls(n, pa.string())
    coded = _encoded("context", column)
    texts = []
    for text in coded.dictionary.to_pylist():
        try:
            context = json.loads(text)
        except ValueError:
            context = None
        if not isinstance(context, dict):
            raise InvalidInputError(
                f"Column `context` of the points has `{text[:80]}`; a context is a JSON object as text, such as "
                '{"subset": "val"}, or null.'
            )
        texts.append(context_text(context))
    return pa.DictionaryArray.from_arrays(coded.indices, pa.array(texts, pa.string()))


def _whole(name: str, column: pa.Array, to: pa.DataType) -> pa.Array:
    if not pa.types.is_integer(column.type):
        raise InvalidInputError(f"Column `{name}` of the points must be whole numbers; got {column.type}.")
    _refuse_nulls(name, column)
    try:
        return column.cast(to)
    except pa.ArrowInvalid as error:
        raise InvalidInputError(f"Column `{name}` of the points has a number beyond {to}: {error}.") from error


def _values(column: pa.Array) -> pa.Array:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        raise InvalidInputError(f"Column `value` of the points must be numbers; got {column.type}.")
    _refuse_nulls("value", column)
    return column.cast(pa.float64(), safe=False)


def _times(column: pa.Array | None, n: int, now: int) -> pa.Array:
    if column is None:
        return pa.array(np.full(n, now, np.int64)).cast(_TIME)
    _refuse_nulls("timestamp", column)
    try:
        if pa.types.is_timestamp(column.type):
            naive = column.type.tz is None
            return column.cast(pa.timestamp("us", tz=None if naive else "UTC"), safe=False).cast(_TIME)
        if pa.types.is_integer(column.type):
            return pc.multiply_checked(column.cast(pa.int64()), 1000).cast(_TIME)
    except pa.ArrowInvalid as error:
        raise InvalidInputError(f"Column `timestamp` of the points has a time out of reach: {error}.") from error
    raise InvalidInputError(
        f"Column `timestamp` of the points must be times, or whole milliseconds since the epoch; got {column.type}."
    )


def _refuse_nulls(name: str, column: pa.Array) -> None:
    if column.null_count:
        first = pc.index(pc.is_null(column), True).as_py()
        raise InvalidInputError(
            f"Column `{name}` of the points lacks {column.null_count} values, the first in row {first}; each point "
            "needs one. (NaN is a value, null isn't.)"
        )


def _order(runs: pa.DictionaryArray, keys: pa.DictionaryArray) -> npt.NDArray[np.intp] | None:
    """The order by run and key, in which a file's statistics prune; None where it is there already."""
    run_ranks, key_ranks = (_ranks(c) for c in (runs, keys))
    groups = run_ranks * len(keys.dictionary) + key_ranks
    if bool(np.all(groups[1:] >= groups[:-1])):
        return None
    if len(runs.dictionary) * len(keys.dictionary) <= 1 << 16:
        # Numpy sorts numbers of 16 bits by radix, ten times as fast.
        groups = groups.astype(np.uint16)
    return np.argsort(groups, kind="stable")


def _ranks(column: pa.DictionaryArray) -> npt.NDArray[np.int64]:
    texts = column.dictionary.to_pylist()
    ranks = np.empty(len(texts), np.int64)
    ranks[sorted(range(len(texts)), key=texts.__getitem__)] = np.arange(len(texts))
    codes: npt.NDArray[np.int32] = column.indices.to_numpy()
    return ranks[codes]
