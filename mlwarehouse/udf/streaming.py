"""Scoring rows as they come: batches in, rows of tables out, in memory that doesn't grow with the table."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from mlwarehouse.errors import InvalidInputError, ModelError
from mlwarehouse.models import Predictor, Signature
from mlwarehouse.tables import PREDICTION_INPUTS, PREDICTIONS
from mlwarehouse.udf.bad_rows import OnError
from mlwarehouse.udf.batch_size import BatchSize
from mlwarehouse.udf.predicting import check_columns, try_rows
from mlwarehouse.udf.score import Scoring
from mlwarehouse.udf.score_rows import check_names, long_rows, row_keys, row_times

BATCH_ROWS = 65_536
"""Rows that are given to a model at once, unless told otherwise."""

BATCH_BYTES = 64 << 20
"""Bytes of input that are given to a model at once; fewer rows where they are large."""

FILE_ROWS = 1 << 19
"""Rows of a file of predictions: what is held in memory until it is written."""


@dataclass(frozen=True)
class What:
    """What is taken of the rows, beside the model's inputs.

    Attributes:
        key: The column that names each row.
        time: The column that says when each row happened; None means the time of the scoring.
        keep: Input columns whose values are kept.
    """

    key: str
    time: str | None = None
    keep: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, key: str, time: str | None, keep: Sequence[str] | bool, signature: Signature | None, schema: pa.Schema
    ) -> What:
        """What `score` is told, of a table.

        Raises:
            InvalidInputError: `keep` is True, and the model has no signature.
        """
        if not isinstance(keep, bool):
            return cls(key, time, tuple(dict.fromkeys(keep)))
        if keep and signature is None:
            raise InvalidInputError("The model has no signature, so `keep` must list the columns.")
        fields = signature.inputs if keep and signature is not None else ()
        return cls(key, time, tuple(f.name for f in fields if not f.dims and f.name in schema.names))

    def columns(self, signature: Signature | None, schema: pa.Schema) -> list[str] | None:
        """The columns that are needed of a table; None where a model without a signature takes all.

        Raises:
            SignatureError: One that the model needs is missing, or has another type.
            InvalidInputError: One of the others is missing, or one is there twice.
        """
        self.check(signature, schema)
        if signature is None:
            return None
        wanted = [f.name for f in signature.inputs if f.name in schema.names]
        return list(dict.fromkeys([self.key, *([self.time] if self.time else []), *wanted, *self.keep]))

    def check(self, signature: Signature | None, schema: pa.Schema) -> None:
        """See that a table has all columns; raises as `columns` does."""
        twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if twice:
            raise InvalidInputError(f"The rows have the column `{twice[0]}` twice; rename or drop one.")
        check_columns(signature, schema)
        check_names(schema, [self.key], "to name rows by")
        check_names(schema, [self.time] if self.time else [], "to take the rows' times from")
        check_names(schema, self.keep, "to keep")


@dataclass
class Tally:
    """What became of the rows so far.

    Attributes:
        n_scored: Rows.
        n_lacking: How many of them lack a value that the model requires, so that it wasn't asked.
        n_failed: How many of them the model failed on.
    """

    n_scored: int = 0
    n_lacking: int = 0
    n_failed: int = 0


@dataclass
class Held:
    """Rows that go into the next files.

    Attributes:
        predictions: Rows of `predictions`.
        inputs: Rows of `prediction_inputs`.
    """

    predictions: list[pa.Table] = field(default_factory=list)
    inputs: list[pa.Table] = field(default_factory=list)


def score_batches(
    batches: Iterable[pa.RecordBatch],
    predictor: Predictor,
    scoring: Scoring,
    what: What,
    *,
    now: dt.datetime,
    tally: Tally,
    batch_rows: int = BATCH_ROWS,
    size: BatchSize | None = None,
    on_error: OnError = "raise",
    first: int = 0,
) -> Iterator[tuple[pa.Table, pa.Table | None]]:
    """Predict batch after batch.

    Args:
        batches: The rows, in any number of parts of any size.
        predictor: The model.
        scoring: What is scored with what.
        what: What is taken of the rows.
        now: The time of the scoring.
        tally: Is brought up to date with each batch.
        batch_rows: At most so many rows are given to the model at once, and fewer where they are large.
        size: How many of these at once, see `try_rows`; None means all.
        on_error: What becomes of rows that the model fails on.
        first: The number of the first row.

    Yields:
        Rows of `predictions`, one for each row and output, and of `prediction_inputs`, or None where nothing is kept.
        The rows of one scored row share its number as ``writer_seq``. A row that lacks a value which the model requires
        has neither ``value`` nor ``text``.

    Raises:
        SignatureError: The columns don't fit the model's signature.
        InvalidInputError: A column isn't there, or rows have no key or time.
        ModelError: The model failed and `on_error` is ``raise``; or no row could tell the outputs of a model without a
            signature.
    """
    constants = scoring.constants(predictor.digest, now)
    of_inputs = {n: v for n, v in constants.items() if n in PREDICTION_INPUTS.arrow_schema().names}
    outputs: pa.Schema | None = None
    for rows in rebatched(batches, batch_rows):
        keys = row_keys(rows, what.key)
        number = first + tally.n_scored
        per_row = {"row_key": keys, "writer_seq": pa.array(np.arange(number, number + rows.num_rows))}
        if what.time is not None:
            per_row["event_at"] = row_times(rows, what.time)
        given = rows if predictor.signature is not None else rows.drop_columns([what.key])
        begun = time.perf_counter()
        made = try_rows(predictor, given, size=size, on_error=on_error)
        constants["latency_us"] = (time.perf_counter() - begun) * 1e6 / rows.num_rows
        found = made.outputs
        if found is None:
            if outputs is None:
                raise ModelError(
                    f"None of {rows.num_rows} rows was predicted, and the model's signature names no outputs, so it "
                    "isn't known what to return; save the model with an input example."
                )
            found = pa.table([pa.nulls(rows.num_rows, f.type) for f in outputs], schema=outputs)
        outputs = found.schema
        tally.n_scored += rows.num_rows
        tally.n_lacking += made.n_lacking
        tally.n_failed += made.n_failed
        predictions = long_rows(PREDICTIONS, found, "output", constants, per_row)
        inputs = None
        if what.keep:
            inputs = long_rows(PREDICTION_INPUTS, rows.select(what.keep), "feature", of_inputs, per_row)
        yield predictions, inputs


def rebatched(batches: Iterable[pa.RecordBatch], batch_rows: int) -> Iterator[pa.Table]:
    """Rows in parts of one size: small parts are put together and large ones cut, without a copy.

    Args:
        batches: The rows.
        batch_rows: Rows of a part; fewer where they have more than `BATCH_BYTES`, and in the last one.
    """
    held: list[pa.RecordBatch] = []
    n_held = 0
    for batch in batches:
        at = 0
        while at < batch.num_rows:
            wide = batch.nbytes / batch.num_rows
            limit = max(min(batch_rows, int(BATCH_BYTES / wide)) if wide else batch_rows, 1)
            if n_held >= limit:
                yield pa.Table.from_batches(held)
                held, n_held = [], 0
            part = batch.slice(at, limit - n_held)
            held.append(part)
            n_held += part.num_rows
            at += part.num_rows
    if held:
        yield pa.Table.from_batches(held)


def file_sized(
    parts: Iterable[tuple[pa.Table, pa.Table | None]], file_rows: int = FILE_ROWS
) -> Iterator[tuple[pa.Table, pa.Table | None]]:
    """Rows of tables in parts that make files, of some `file_rows` rows of either table."""
    held = Held()
    for predictions, inputs in parts:
        held.predictions.append(predictions)
        if inputs is not None:
            held.inputs.append(inputs)
        if max(_count(held.predictions), _count(held.inputs)) >= file_rows:
            yield _together(held)
            held = Held()
    if held.predictions:
        yield _together(held)


def _count(tables: Sequence[pa.Table]) -> int:
    return sum(t.num_rows for t in tables)


def _together(held: Held) -> tuple[pa.Table, pa.Table | None]:
    return pa.concat_tables(held.predictions), pa.concat_tables(held.inputs) if held.inputs else None
