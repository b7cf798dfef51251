"""The part of a warehouse that scores on Spark: by the workers that read a table's files, or by Spark's own rows."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mlwarehouse.errors import InvalidInputError, NotFoundError
from mlwarehouse.parts.packaging import FoundModel
from mlwarehouse.parts.scorable import is_question, question_of, state_of
from mlwarehouse.parts.spark_functions import SparkFunctions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from mlwarehouse.engines.base import Appended, Txn
    from mlwarehouse.udf import Scoring
    from mlwarehouse.udf.shipping import Calling


Taken: TypeAlias = "tuple[str, str | None, Sequence[str] | bool]"
"""The column that names rows, the one that says when they happened, and those that are kept."""


class SparkScoring(SparkFunctions):
    """Predictions as rows, made by Spark."""

    def score_on_spark(
        self,
        data: Any,
        found: FoundModel,
        dataset: str,
        taken: Taken,
        calling: Calling,
        source_id: str | None,
        at: Any,
        engine: str | SparkSession,
    ) -> tuple[Scoring, Appended, Mapping[str, int]]:
        """Score a Spark frame, a path, or a question, see `Predicting.score`.

        The workers read a Parquet file, or a Delta table whose files hold its rows as they are, by themselves; all else
        is read by Spark.

        Args:
            data: What is scored.
            found: The model.
            dataset: As for `score`.
            taken: What `score` was told to take of the rows: `key`, `time` and `keep`.
            calling: How workers load and call the model.
            source_id: As for `score`.
            at: As for `score`.
            engine: As for `score`.

        Returns:
            What was scored with what, what was added, and how many rows were scored, lacked a value, and failed.

        Raises:
            WarehouseError: As for `score`.
        """
        from mlwarehouse.engines.embedded_scan import scan
        from mlwarehouse.tables import PREDICTION_INPUTS, PREDICTIONS
        from mlwarehouse.udf import score_files, score_frame
        from mlwarehouse.udf.score_workers import frame_schema
        from mlwarehouse.udf.streaming import What

        self.place(create=True)
        self.engine()  # makes the tables that aren't there yet
        path = Path(data).resolve() if isinstance(data, str | Path) and not is_question(data) else None
        name: str | None
        frame: Any = None
        scanned = None
        signature = found.package.signature
        if path is not None:
            session = self.spark_session(engine)
            name, version = str(path), _version_of(path, at)
            # A model without a signature takes all columns, whose types only Spark's own reader settles.
            scanned = scan(path, version=version) if signature is not None else None
            frame = _read(session, path, version) if scanned is None else None
        else:
            frame, name, version = self._frame(data, at, engine)
            session = frame.sparkSession
        state = state_of(name, version, at)
        scoring = scoring_of(found, dataset, source_id or source_id_of(state, found, dataset), name, version)
        what = What.of(*taken, signature, frame_schema(frame) if scanned is None else scanned.schema)
        now = dt.datetime.now(dt.UTC)
        if scanned is not None:
            made = score_files(session, found.package, scanned, scoring, what, calling, now=now)
        else:
            made = score_frame(found.package, frame, scoring, what, calling, now=now)
        # With the predictions the scoring is done, and isn't begun again.
        specs = [PREDICTION_INPUTS, PREDICTIONS] if what.keep else [PREDICTIONS]
        return scoring, *self.engine_of(session).append_made(specs, made, txns=[txn_of(scoring)])

    def _frame(self, data: Any, at: Any, engine: str | SparkSession) -> tuple[Any, str | None, int | None]:
        """A Spark frame, or a question as one, with its name and version."""
        if not isinstance(data, str):
            if at is not None:
                raise InvalidInputError("`at` names the version of a table, and a frame has none; leave it out.")
            return data, None, None
        from mlwarehouse.engines.base import Reading
        from mlwarehouse.query import spark_frame
        from mlwarehouse.tables import TABLES_BY_NAME

        if isinstance(at, int):
            raise InvalidInputError("Spark looks at a snapshot of a table of this warehouse; give that as `at`.")
        spec = TABLES_BY_NAME.get(data)
        is_newest = at is None and spec is not None
        reading = Reading(versions=self.versions()) if is_newest else self.reading(at=at)
        version = None if spec is None else reading.versions.get(spec.name)
        answering = self.engine_of(self.spark_session(engine))
        return spark_frame(answering, reading, question_of(data)), data, version


def scoring_of(found: FoundModel, dataset: str, source_id: str, name: str | None, version: int | None) -> Scoring:
    """What is the same for every prediction of a scoring."""
    from mlwarehouse.udf import Scoring

    return Scoring(
        source_id=source_id,
        dataset=dataset,
        model_name=found.name,
        model_version=found.version,
        run_id=found.run_id,
        input_table=name,
        input_version=version,
    )


def source_id_of(state: str | None, found: FoundModel, dataset: str) -> str:
    """The same for the same state of a table, model and dataset; anything where no state is known."""
    if state is None:
        return uuid.uuid4().hex
    text = "\0".join([state, found.package.digest, str(found.name), str(found.version), dataset])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def txn_of(scoring: Scoring) -> Txn:
    """The transaction number that makes a scoring be added once."""
    from mlwarehouse.engines.base import Txn

    return Txn(scoring.writer_id, 1)


def _version_of(path: Path, at: Any) -> int | None:
    """The version that is scored of a Delta table; None for a file."""
    from mlwarehouse.engines.embedded_files import delta_version

    if not path.exists():
        raise NotFoundError(f"The table `{path}` can't be read: there is no such file or folder.")
    if path.suffix in (".parquet", ".csv") and path.is_file():
        if at is not None:
            raise InvalidInputError(f"`{path}` is a file and has no version {at}; leave out `at`.")
        return None
    newest = delta_version(path)
    if at is not None and (isinstance(at, bool) or not isinstance(at, int) or not 0 <= at <= newest):
        raise InvalidInputError(f"`at` is {at!r}; the Delta table `{path}` has versions 0 to {newest}.")
    return newest if at is None else at


def _read(session: SparkSession, path: Path, version: int | None) -> Any:
    """A table by path as a Spark frame."""
    if version is not None:
        return session.read.format("delta").option("versionAsOf", version).load(str(path))
    if path.suffix == ".parquet":
        return session.read.parquet(str(path))
    return session.read.csv(str(path), header=True, inferSchema=True)
