"""Predictions as rows of the `predictions` table: what they have in common, and those of Spark DataFrames."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.tables import PREDICTIONS
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
            "latency_us": None,
            "event_at": now,
            "recorded_at": now,
            "writer_id": self.writer_id,
        }


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
        The columns of `PREDICTIONS`, as `score_batches` gives them; `writer_seq` numbers the rows without being dense.

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


_SPARK_TYPES = {c.name: {"long": "bigint"}.get(c.type, c.type) for c in PREDICTIONS.all_columns}


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
