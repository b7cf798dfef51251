"""Scoring a table by Spark's workers, which read its files themselves: what Spark moves is names of files.

Spark's own rows are turned into Arrow's one by one, which takes longer than a small model does. Here a task is told
which row groups are its own, reads and predicts them by the same code as without Spark, and writes a file of
predictions.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from mlwarehouse.engines.embedded_scan import Piece, Scan, spread
from mlwarehouse.engines.spark_staging import MadeByWorkers
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.models import ModelPackage
from mlwarehouse.udf.score import Scoring
from mlwarehouse.udf.shipping import Calling, is_connect, on_worker, ship
from mlwarehouse.udf.streaming import BATCH_ROWS, Tally, What, score_batches

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TASKS_A_CORE = 4
"""So that the cores are done at about the same time, though tasks differ."""

CORES_OF_CONNECT = 16
"""What is assumed of a cluster behind Spark Connect, which doesn't tell."""

ROWS_A_TASK = 1 << 33
"""Each task numbers its rows in a range of its own."""


def score_files(
    spark: SparkSession,
    package: ModelPackage,
    scan: Scan,
    scoring: Scoring,
    what: What,
    calling: Calling,
    *,
    now: dt.datetime,
) -> MadeByWorkers:
    """Rows of the `predictions` table, made where they are written; nothing is computed yet.

    Args:
        spark: The session; its workers must see the table's files.
        package: The model, with a signature.
        scan: The table.
        scoring: What is scored with what.
        what: What is taken of the rows; kept inputs aren't written here.
        calling: How the model is loaded and called.
        now: The time of the scoring.

    Returns:
        What ``SparkEngine.append(PREDICTIONS, ...)`` takes. ``writer_seq`` numbers the rows without being dense.

    Raises:
        SignatureError: The table's columns don't fit the model's signature.
        InvalidInputError: There is no column by which rows are named.
    """
    names = what.columns(package.signature, scan.schema)
    ship(spark, package)
    cores = CORES_OF_CONNECT if is_connect(spark) else spark.sparkContext.defaultParallelism
    tasks = spread(scan.pieces, TASKS_A_CORE * cores)
    schema = scan.schema if names is None else pa.schema([scan.schema.field(name) for name in names])
    work = _Work(tuple(tuple(task) for task in tasks), schema, package.digest, scoring, what, calling, now)
    # Each number is a partition of its own, and so a task.
    return MadeByWorkers(spark.range(0, len(tasks), 1, len(tasks)), work.do)


@dataclass(frozen=True)
class _Work:
    tasks: tuple[tuple[Piece, ...], ...]
    schema: pa.Schema
    digest: str
    scoring: Scoring
    what: What
    calling: Calling
    now: dt.datetime

    def do(self, numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The predictions of the tasks that have these numbers."""
        model = on_worker(self.digest, self.calling)
        batch_rows = self.calling.batch_rows or BATCH_ROWS
        for batch in numbers:
            for number in batch.column(0).to_pylist():
                made = score_batches(
                    self._read(number, batch_rows),
                    model.predictor,
                    self.scoring,
                    self.what,
                    now=self.now,
                    tally=Tally(number * ROWS_A_TASK),
                    batch_rows=batch_rows,
                    size=model.size,
                )
                for predictions, _ in made:
                    yield from predictions.to_batches()

    def _read(self, number: int, batch_rows: int) -> Iterator[pa.RecordBatch]:
        for piece in self.tasks[number]:
            try:
                yield from piece.batches(self.schema, batch_rows)
            except (pa.ArrowException, OSError) as error:
                raise InvalidInputError(
                    f"A Spark worker can't read `{piece.path}`: {error}. Driver and workers must share its folder."
                ) from error
