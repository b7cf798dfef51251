"""A table's new rows as a stream of Spark's: what an append-only Delta table is anyway."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse.engines.parse import parse_select
from mlwarehouse.engines.render import render

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def stream_of(spark: SparkSession, folder: Path, question: str) -> DataFrame:
    """A question about the rows of one table, answered for each row as it comes in.

    Merged files bring no rows, and Delta's source knows that. What a purge or a repair takes out is passed over.

    Args:
        spark: A session that knows Delta.
        folder: The table's folder.
        question: A ``SELECT`` of expressions over the rows of that table under the alias ``t``, in our own dialect,
            with a ``WHERE``, and without anything that looks at more than one row.

    Returns:
        A streaming frame with the question's columns.
    """
    tree = parse_select(question)
    rows = spark.readStream.format("delta").option("skipChangeCommits", "true").load(str(folder)).alias("t")
    condition = render(tree.args["where"].this, dialect="spark")
    return rows.where(condition).selectExpr(*(render(e, dialect="spark") for e in tree.expressions))
