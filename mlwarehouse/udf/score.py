"""Predictions as rows of the `predictions` table, from frames on this machine and from Spark DataFrames."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.models import Predictor
from mlwarehouse.tables import PREDICTIONS
from mlwarehouse.udf.predicting import predict_rows
from mlwarehouse.udf.spark_udf import ModelUdf, quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class Scoring:
    """What is the same for every prediction of one scoring.

    Attributes:
        source_id: Names the scoring. Used as the application id of the append's transaction, it makes a repeated
            scoring add nothing.
        dataset: The name of what is scored; labels of the same name join to it.
        model_name: The registered model, or None for a model scored straight from a run.
        model_version: Its version, or None.
        run_id: The run that made the model.
        input_table: The table or query that is scored, where it has a name.
        input_version: The scored Delta table's version, where it is one.
    """

    source_id: str
    dataset: str
    model_name: str | None = None
    model_version: int | None = None
    run_id: str | None = None
    input_table: str | None = None
    input_version: int | None = None

    @property
    def writer_id(self) -> str:
        """The `writer_id` of its rows."""
        return f"score:{self.source_id}"

    def constants(self, digest: str, now: dt.datetime) -> dict[str, Any]:
        """The columns whose values are the same in each row, by name."""
        return {
            "model_name": self.model_name,
            "model_version": self.model_version,
            "model_digest": digest,
            "run_id": self.run_id,
            "dataset": self.dataset,
            "input_table": self.input_table,
            "input_version": self.input_version,
            "event_at": now,
            "recorded_at": now,
            "writer_id": self.writer_id,
        }


def score_frame(
    rows: Any,
    predictor: Predictor,
    scoring: Scoring,
    *,
    row_key: str | None = None,
    batch_rows: int | None = None,
    now: dt.datetime | None = None,
) -> pa.Table:
    """Predict a frame and give the predictions as rows of the `predictions` table.

    Args:
        rows: A pandas DataFrame, a `pyarrow.Table`, or anything that gives itself as an Arrow stream, such as a DuckDB
            relation or a Polars frame.
        predictor: The model.
        scoring: What is scored with what.
        row_key: The column whose values, as text, name the rows; None numbers the rows from 0.
        batch_rows: At most so many rows are given to the model at once; all of them when None.
        now: The time of the scoring; the current one by default.

    Returns:
        The columns of `PREDICTIONS`: one row for each row and output. Numbers and booleans are in `value`, text is in
        `text`, and lists are in `text` as JSON; both are null for a row that lacks a value the model requires. The
        rows of one scored row share its number as `writer_seq`.

    Raises:
        SignatureError: The frame's columns don't fit the model's signature.
        InvalidInputError: `rows` isn't a frame, or there is no column `row_key`, or it has nulls.
        ModelError: The model failed.
    """
    table = _as_arrow(rows)
    keys = _keys(table, row_key)
    inputs = table
    if predictor.signature is None and row_key is not None:
        inputs = table.drop_columns([row_key])
    found = predict_rows(predictor, inputs, batch_rows=batch_rows)
    constants = scoring.constants(predictor.digest, now or dt.datetime.now(dt.UTC))
    numbers = pa.array(range(table.num_rows), pa.int64())
    parts = []
    for name in found.column_names:
        value, text = _value_and_text(found.column(name))
        columns = {"row_key": keys, "value": value, "text": text, "writer_seq": numbers}
        repeated = {k: pa.repeat(pa.scalar(v, _TYPES[k]), table.num_rows) for k, v in constants.items()}
        output = pa.repeat(pa.scalar(name), table.num_rows)
        parts.append(pa.table({**repeated, **columns, "output": output}).select(PREDICTIONS.arrow_schema().names))
    return pa.concat_tables(parts).cast(PREDICTIONS.arrow_schema())


def score_spark(
    frame: DataFrame, udf: ModelUdf, scoring: Scoring, *, row_key: str, now: dt.datetime | None = None
) -> DataFrame:
    """Predict a Spark DataFrame and give the predictions as rows of the `predictions` table; nothing is computed yet.

    ``SparkEngine.append(PREDICTIONS, score_spark(...), txns=[Txn(scoring.source_id, 1)])`` computes and commits them,
    exactly once for each source id.

    Args:
        frame: The rows, with the model's input columns under their own names; all other columns are ignored.
        udf: The model, with a signature.
        scoring: What is scored with what.
        row_key: The column whose values, as text, name the rows.
        now: The time of the scoring; the current one by default.

    Returns:
        The columns of `PREDICTIONS`, as `score_frame` gives them; `writer_seq` numbers the rows without being dense.

    Raises:
        SignatureError: The frame's columns don't fit the model's signature, or it has none.
        InvalidInputError: There is no column `row_key`.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.types import StructType

    if row_key not in frame.columns:
        raise InvalidInputError(
            f"There is no column `{row_key}` to name rows by.{did_you_mean(row_key, frame.columns)}"
        )
    udf.check(frame)
    predicted = frame.select(
        F.col(quoted(row_key)).cast("string").alias("row_key"),
        udf().alias("prediction"),
        F.monotonically_increasing_id().alias("writer_seq"),
    )
    kind = predicted.schema["prediction"].dataType
    if isinstance(kind, StructType):
        fields = {f.name: (F.col("prediction").getField(f.name), f.dataType.simpleString()) for f in kind.fields}
    else:
        fields = {_single_output(udf): (F.col("prediction"), kind.simpleString())}
    outputs = [
        F.struct(F.lit(name).alias("output"), *_spark_value_and_text(column, type_))
        for name, (column, type_) in fields.items()
    ]
    long = predicted.select("row_key", "writer_seq", F.inline(F.array(*outputs)))
    for name, value in scoring.constants(udf.digest, now or dt.datetime.now(dt.UTC)).items():
        long = long.withColumn(name, F.lit(value).cast(_SPARK_TYPES[name]))
    return long.select(*PREDICTIONS.arrow_schema().names)


_TYPES = {f.name: f.type for f in PREDICTIONS.arrow_schema()}
_SPARK_TYPES = {c.name: {"long": "bigint"}.get(c.type, c.type) for c in PREDICTIONS.all_columns}


def _as_arrow(rows: Any) -> pa.Table:
    import pandas as pd

    if isinstance(rows, pa.Table):
        return rows
    if isinstance(rows, pd.DataFrame):
        return pa.Table.from_pandas(rows, preserve_index=False)
    if hasattr(rows, "__arrow_c_stream__"):
        return pa.table(rows)
    raise InvalidInputError(
        f"Rows to score must be a pandas DataFrame, a pyarrow.Table, or something that gives an Arrow stream; got "
        f"{type(rows).__name__}."
    )


def _keys(table: pa.Table, row_key: str | None) -> Any:
    if row_key is None:
        return pa.array([str(i) for i in range(table.num_rows)], pa.string())
    if row_key not in table.column_names:
        raise InvalidInputError(
            f"There is no column `{row_key}` to name rows by.{did_you_mean(row_key, table.column_names)}"
        )
    keys = table.column(row_key).cast(pa.string())
    if keys.null_count:
        raise InvalidInputError(f"Column `{row_key}` is to name the rows, and {keys.null_count} rows have none.")
    return keys


def _value_and_text(column: pa.ChunkedArray) -> tuple[Any, Any]:
    no_text, no_value = pa.nulls(len(column), pa.string()), pa.nulls(len(column), pa.float64())
    if pa.types.is_boolean(column.type):
        return column.cast(pa.int8()).cast(pa.float64()), no_text
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        # Beyond 2^53 a whole number is rounded to the nearest double; the table has no other column for it.
        return pc.cast(column, pa.float64(), safe=False), no_text
    if pa.types.is_nested(column.type):
        texts = [None if v is None else json.dumps(v, separators=(",", ":")) for v in column.to_pylist()]
        return no_value, pa.array(texts, pa.string())
    return no_value, column.cast(pa.string())


def _spark_value_and_text(column: Column, type_: str) -> tuple[Column, Column]:
    from pyspark.sql import functions as F

    none = F.lit(None)
    if type_ == "string":
        value, text = none, column
    elif type_.startswith("array"):
        value, text = none, F.to_json(column)
    else:
        value, text = column, none
    return value.cast("double").alias("value"), text.cast("string").alias("text")


def _single_output(udf: ModelUdf) -> str:
    outputs = udf.signature.outputs if udf.signature is not None else ()
    return outputs[0].name if outputs else "prediction"
