"""Scoring by Spark's workers, with the same code as without Spark: they predict, and write files of predictions.

Spark's own rows are turned into Arrow's one by one, which takes longer than a small model does. So of a table whose
files hold its rows as they are, what Spark moves is names of files: a task is told which row groups are its own, and
reads them itself. All else comes to the workers as Spark's rows.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from mlwarehouse.engines.embedded_scan import Piece, Scan, spread
from mlwarehouse.engines.spark_errors import reason, spark_failures
from mlwarehouse.engines.spark_staging import Made, MadeByWorkers
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.models import ModelPackage
from mlwarehouse.tables import PREDICTION_INPUTS, PREDICTIONS
from mlwarehouse.udf.score import Scoring
from mlwarehouse.udf.shipping import Calling, is_connect, on_worker, ship
from mlwarehouse.udf.spark_udf import quoted
from mlwarehouse.udf.streaming import BATCH_ROWS, Tally, What, score_batches

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

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
    """Rows of `predictions` and `prediction_inputs` of a table whose files the workers read; nothing is computed yet.

    Args:
        spark: The session; its workers must see the table's files.
        package: The model, with a signature.
        scan: The table.
        scoring: What is scored with what.
        what: What is taken of the rows.
        calling: How the model is loaded and called.
        now: The time of the scoring.

    Returns:
        What `SparkEngine.append_made` takes; its counts are those of `Tally`. ``writer_seq`` numbers the rows without
        being dense.

    Raises:
        SignatureError: The table's columns don't fit the model's signature.
        InvalidInputError: There is no column of a name in `what`.
    """
    names = what.columns(package.signature, scan.schema)
    ship(spark, package)
    cores = CORES_OF_CONNECT if is_connect(spark) else spark.sparkContext.defaultParallelism
    tasks = spread(scan.pieces, TASKS_A_CORE * cores)
    schema = scan.schema if names is None else pa.schema([scan.schema.field(name) for name in names])
    work = _Work(package.digest, scoring, what, calling, now)
    read = _Files(tuple(tuple(task) for task in tasks), schema, calling.batch_rows or BATCH_ROWS, work)
    # Each number is a partition of its own, and so a task.
    return MadeByWorkers(spark.range(0, len(tasks), 1, len(tasks)), read)


def score_frame(
    package: ModelPackage, frame: DataFrame, scoring: Scoring, what: What, calling: Calling, *, now: dt.datetime
) -> MadeByWorkers:
    """Rows of `predictions` and `prediction_inputs` of a Spark frame; nothing is computed yet.

    Args:
        package: The model.
        frame: The rows.
        scoring: As for `score_files`.
        what: As for `score_files`.
        calling: As for `score_files`.
        now: As for `score_files`.

    Returns:
        As `score_files`.

    Raises:
        SignatureError: The frame's columns don't fit the model's signature.
        InvalidInputError: There is no column of a name in `what`.
    """
    names = what.columns(package.signature, frame_schema(frame))
    ship(frame.sparkSession, package)
    rows = frame if names is None else frame.select(*(quoted(name) for name in names))
    return MadeByWorkers(rows, _Rows(_Work(package.digest, scoring, what, calling, now)))


def frame_schema(frame: DataFrame) -> pa.Schema:
    """A Spark frame's columns, as workers get them.

    Raises:
        InvalidInputError: One has a type that Arrow hasn't.
    """
    from pyspark.sql.pandas.types import to_arrow_schema
    from pyspark.sql.types import StructType

    fields = []
    for column in frame.schema.fields:
        try:
            fields += list(to_arrow_schema(StructType([column]), timezone="UTC"))
        except spark_failures() as error:
            raise InvalidInputError(
                f"Column `{column.name}` is {column.dataType.simpleString()}, which a model can't be given: "
                f"{reason(error)} Cast it or leave it out."
            ) from error
    return pa.schema(fields)


@dataclass(frozen=True)
class _Work:
    """What a worker does with batches of rows."""

    digest: str
    scoring: Scoring
    what: What
    calling: Calling
    now: dt.datetime

    def made(self, batches: Iterator[pa.RecordBatch], number: int) -> Iterator[Made]:
        """The rows of one task, and how many they were."""
        model = on_worker(self.digest, self.calling)
        tally = Tally()
        scored = score_batches(
            batches,
            model.predictor,
            self.scoring,
            self.what,
            now=self.now,
            tally=tally,
            batch_rows=self.calling.batch_rows or BATCH_ROWS,
            size=model.size,
            on_error=self.calling.on_error,
            first=number * ROWS_A_TASK,
        )
        for predictions, inputs in scored:
            yield Made({PREDICTIONS.name: predictions} | ({} if inputs is None else {PREDICTION_INPUTS.name: inputs}))
        yield Made(counts=dataclasses.asdict(tally))


@dataclass(frozen=True)
class _Files:
    """Reads the files of the tasks whose numbers come."""

    tasks: tuple[tuple[Piece, ...], ...]
    schema: pa.Schema
    batch_rows: int
    work: _Work

    def __call__(self, numbers: Iterator[pa.RecordBatch]) -> Iterator[Made]:
        for batch in numbers:
            for number in batch.column(0).to_pylist():
                yield from self.work.made(self._read(number), number)

    def _read(self, number: int) -> Iterator[pa.RecordBatch]:
        for piece in self.tasks[number]:
            try:
                yield from piece.batches(self.schema, self.batch_rows)
            except (pa.ArrowException, OSError) as error:
                raise InvalidInputError(
                    f"A Spark worker can't read `{piece.path}`: {error}. Driver and workers must share its folder."
                ) from error


@dataclass(frozen=True)
class _Rows:
    """Takes a task's rows as they come."""

    work: _Work

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[Made]:
        from pyspark import TaskContext

        # A task without rows needn't load the model.
        for batch in batches:
            task = TaskContext.get()
            number = 0 if task is None else task.partitionId()
            yield from self.work.made(itertools.chain([batch], batches), number)
