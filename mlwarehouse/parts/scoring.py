"""The part of a warehouse that scores tables with its models, and keeps predictions and labels."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.parts.engines import means_spark
from mlwarehouse.parts.packaging import FoundModel
from mlwarehouse.parts.spark_functions import SparkFunctions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from mlwarehouse.engines.base import Appended
    from mlwarehouse.udf import Scoring


@dataclass(frozen=True)
class Scored:
    """What a scoring did.

    Attributes:
        model_uri: The model, with its version pinned.
        dataset: The name of what was scored.
        source_id: Names the scoring: the same again adds nothing.
        n_rows: Predictions added; 0 when this source id had added them before.
        table_version: Version of the predictions table after it.
    """

    model_uri: str
    dataset: str
    source_id: str
    n_rows: int
    table_version: int


class Predicting(SparkFunctions):
    """Models over tables: as Spark columns, and as rows of `predictions`."""

    def score(
        self,
        data: Any,
        model_uri: str,
        *,
        key: str,
        dataset: str,
        source_id: str | None = None,
        engine: str | SparkSession = "embedded",
        batch_rows: int | None = 65_536,
        allow_pickle: bool = False,
    ) -> Scored:
        """Score rows with a model, and keep the predictions as rows of `predictions`.

        Args:
            data: A pandas, Polars, Arrow or Spark frame, a DuckDB relation, or the path of a Parquet or CSV file or of
                a Delta table's folder.
            model_uri: As for `find_model`; the version that it means now is pinned.
            key: The column that names each row.
            dataset: The name of what is scored: labels of the same name join to the predictions.
            source_id: Names this scoring: the same again adds nothing. None makes one up; for a Delta table it is made
                from the table, its version and the model, so scoring the same again adds nothing.
            engine: For a path: ``embedded``, ``spark``, or a Spark session. A Spark frame is always scored by Spark.
            batch_rows: The most rows to give to the model at once.
            allow_pickle: Whether loading the model may run a pickle.

        Returns:
            What was added.

        Raises:
            NotFoundError: No model, or no table, is there.
            SignatureError: A column that the model needs is missing, or of another type.
            InvalidInputError: The data or engine can't be meant, or rows lack a key.
        """
        by_spark = means_spark(engine)
        found = self.find_model(model_uri)
        is_frame_of_spark = type(data).__module__.startswith("pyspark.")
        path = Path(data).resolve() if isinstance(data, str | Path) else None
        version = None
        if path is not None and not by_spark:
            from mlwarehouse.engines.embedded_files import read_table

            data, version = read_table(path)
        elif path is not None:
            data, version = _spark_table(self.spark_session(engine), path)
            is_frame_of_spark = True
        if source_id is None:
            source_id = _source_id(path, version, found, dataset) if version is not None else uuid.uuid4().hex
        from mlwarehouse.udf import Scoring

        scoring = Scoring(
            source_id=source_id,
            dataset=dataset,
            model_name=found.name,
            model_version=found.version,
            run_id=found.run_id,
            input_table=str(path) if path is not None else None,
            input_version=version,
        )
        if is_frame_of_spark:
            appended = self._score_by_spark(data, found, scoring, key, batch_rows, allow_pickle)
        else:
            appended = self._score_here(data, found, scoring, key, batch_rows, allow_pickle)
        pinned = f"models:/{found.name}/{found.version}" if found.name else model_uri
        return Scored(pinned, dataset, source_id, appended.n_rows, appended.version)

    def log_labels(
        self, data: Any, *, dataset: str, key: str, label: str, output: str = "prediction", source_id: str | None = None
    ) -> int:
        """Record the truth for rows that were, or will be, scored.

        Args:
            data: A pandas, Polars or Arrow frame.
            dataset: The name under which the rows were scored.
            key: The column that names each row.
            label: The column with the truth: numbers, or text.
            output: The model's output that it is the truth for.
            source_id: Names these labels: the same again adds nothing. None makes one up.

        Returns:
            Rows added.

        Raises:
            InvalidInputError: A column is missing, or a row has no key.
        """
        import pyarrow as pa

        from mlwarehouse.engines.base import Txn
        from mlwarehouse.ingest.identity import login_name
        from mlwarehouse.tables import LABELS

        table = pa.Table.from_pandas(data, preserve_index=False) if hasattr(data, "iloc") else pa.table(data)
        for column in (key, label):
            if column not in table.column_names:
                raise InvalidInputError(
                    f"The labels have no column `{column}`.{did_you_mean(column, table.column_names)}"
                )
        keys, truth = table.column(key).cast(pa.string()), table.column(label)
        if keys.null_count:
            raise InvalidInputError(f"Column `{key}` names the rows, and {keys.null_count} rows have none.")
        is_text = pa.types.is_string(truth.type) or pa.types.is_large_string(truth.type)
        if pa.types.is_boolean(truth.type):
            truth = truth.cast(pa.int8())
        n = table.num_rows
        source_id = source_id or uuid.uuid4().hex
        now = pa.repeat(pa.scalar(time.time_ns() // 1000, pa.int64()).cast(pa.timestamp("us", tz="UTC")), n)
        rows = pa.table(
            {
                "dataset": pa.repeat(dataset, n),
                "row_key": keys,
                "output": pa.repeat(output, n),
                "value": pa.nulls(n, pa.float64()) if is_text else truth.cast(pa.float64()),
                "text": truth if is_text else pa.nulls(n, pa.string()),
                "actor": pa.repeat(self.settings.actor or login_name(), n),
                "event_at": now,
                "recorded_at": now,
                "writer_id": pa.repeat(f"labels:{source_id}", n),
                "writer_seq": pa.array(range(n), pa.int64()),
            }
        )
        self.place(create=True)
        return self.engine().append(LABELS, rows, txns=[Txn(f"labels:{source_id}", 1)]).n_rows

    def _score_here(
        self, data: Any, found: FoundModel, scoring: Scoring, key: str, batch_rows: int | None, allow_pickle: bool
    ) -> Appended:
        from mlwarehouse.engines.base import Txn
        from mlwarehouse.models import load_predictor
        from mlwarehouse.tables import PREDICTIONS
        from mlwarehouse.udf import score_frame

        predictor = load_predictor(found.package, allow_pickle=allow_pickle)
        rows = score_frame(data, predictor, scoring, row_key=key, batch_rows=batch_rows)
        return self.engine().append(PREDICTIONS, rows, txns=[Txn(scoring.writer_id, 1)])

    def _score_by_spark(
        self, frame: Any, found: FoundModel, scoring: Scoring, key: str, batch_rows: int | None, allow_pickle: bool
    ) -> Appended:
        from mlwarehouse.engines.base import Txn
        from mlwarehouse.tables import PREDICTIONS
        from mlwarehouse.udf import score_spark, spark_udf

        session = frame.sparkSession
        udf = spark_udf(session, found.folder, batch_rows=batch_rows, allow_pickle=allow_pickle)
        predicted = score_spark(frame, udf, scoring, row_key=key)
        return self.engine_of(session).append(PREDICTIONS, predicted, txns=[Txn(scoring.writer_id, 1)])


def _source_id(path: Path | None, version: int, found: FoundModel, dataset: str) -> str:
    """The same for the same table version, model and dataset."""
    text = "\0".join([str(path), str(version), found.package.digest, str(found.name), str(found.version), dataset])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _spark_table(session: SparkSession, path: Path) -> tuple[Any, int | None]:
    """A table by path as a Spark frame, and its Delta version."""
    from mlwarehouse.engines.embedded_files import delta_version

    if path.suffix == ".parquet":
        return session.read.parquet(str(path)), None
    if path.suffix == ".csv":
        return session.read.csv(str(path), header=True, inferSchema=True), None
    version = delta_version(path)
    return session.read.format("delta").option("versionAsOf", version).load(str(path)), version
