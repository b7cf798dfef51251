"""What an argument `engine` means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlwarehouse.errors import InvalidInputError, did_you_mean

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ENGINES = ("embedded", "spark")
"""The engines, by the names that arguments `engine` take."""


def means_spark(engine: str | SparkSession) -> bool:
    """Whether an argument `engine` means Spark: by name, or as a session.

    Raises:
        InvalidInputError: There is no such engine.
    """
    if isinstance(engine, str) and engine not in ENGINES:
        raise InvalidInputError(
            f"There is no engine `{engine}`; it must be embedded, spark, or a Spark session."
            f"{did_you_mean(engine, ENGINES)}"
        )
    return not isinstance(engine, str) or engine == "spark"
