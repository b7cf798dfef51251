"""How many rows a model's function was called with, and what became of them: counted where the rows are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.udf.shipping import is_connect

if TYPE_CHECKING:
    from pyspark import Accumulator
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Counts:
    """What became of the rows of all calls so far.

    Attributes:
        rows: Rows that came.
        lacking: Rows without a value that the model requires; it wasn't asked, and their prediction is null.
        failed: Rows that the model failed on.
    """

    rows: int
    lacking: int
    failed: int


class Counters:
    """Counts of a classic session, made on its driver and added to by its workers.

    A task that is tried again counts again, and so does a question that is asked again.
    """

    def __init__(self, spark: SparkSession) -> None:
        """Begin at 0."""
        context = spark.sparkContext
        self._sums: tuple[Accumulator[int], ...] = tuple(context.accumulator(0) for _ in range(3))

    def __call__(self, rows: int, lacking: int, failed: int) -> None:
        """Add a batch; this is what a worker does."""
        for counted, n in zip(self._sums, (rows, lacking, failed), strict=True):
            counted.add(n)

    def read(self) -> Counts:
        """The counts; only the driver can know them."""
        return Counts(*(counted.value for counted in self._sums))


def counters_of(spark: SparkSession) -> Counters | None:
    """New counters of a session; None where it is one of Spark Connect, which has none."""
    return None if is_connect(spark) else Counters(spark)


def read_counts(counters: Counters | None) -> Counts:
    """The counts so far.

    Raises:
        InvalidInputError: There are none; it says what to do instead.
    """
    if counters is None:
        raise InvalidInputError(
            "Calls are counted in classic sessions, and with `on_error='null'`. Make the function with "
            "`on_error='return'`, and count its `error`s, for instance by `DataFrame.observe`."
        )
    return counters.read()
