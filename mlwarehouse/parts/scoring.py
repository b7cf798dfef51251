"""The part of a warehouse that scores tables with its models, and keeps predictions and labels."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.parts.engines import means_spark
from mlwarehouse.parts.labelling import Labelling
from mlwarehouse.parts.packaging import FoundModel
from mlwarehouse.parts.scorable import Scorable, scorable
from mlwarehouse.parts.spark_scoring import SparkScoring, scoring_of, source_id_of, txn_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

    from mlwarehouse.engines.base import Appended
    from mlwarehouse.entities import Snapshot
    from mlwarehouse.models import Predictor
    from mlwarehouse.udf import Scoring
    from mlwarehouse.udf.streaming import Tally, What


@dataclass(frozen=True)
class Scored:
    """What a scoring did.

    Attributes:
        model_uri: The model, with its version pinned.
        dataset: The name of what was scored.
        source_id: Names the scoring: the same again adds nothing.
        n_rows: Predictions added; 0 when this source id had added them before.
        table_version: Version of the predictions table after it.
        n_scored: Rows that were scored; 0 when they had been before.
        n_lacking: How many of them lack a value that the model requires: their predictions are null.
        n_failed: How many of them the model failed on, with `on_error="null"`: theirs are null, too.
    """

    model_uri: str
    dataset: str
    source_id: str
    n_rows: int
    table_version: int
    n_scored: int
    n_lacking: int
    n_failed: int


class Predicting(SparkScoring, Labelling):
    """Models over tables: as Spark columns, and as rows of `predictions`."""

    def score(
        self,
        data: Any,
        model_uri: str,
        *,
        key: str,
        dataset: str,
        source_id: str | None = None,
        at: int | Snapshot | str | None = None,
        time: str | None = None,
        keep: Sequence[str] | bool = (),
        on_error: str = "raise",
        engine: str | SparkSession = "embedded",
        batch_rows: int | None = None,
        progress: bool | Callable[[float], None] = False,
        allow_pickle: bool = False,
        trusted_types: Sequence[str] = (),
    ) -> Scored:
        """Score rows with a model, and keep the predictions as rows of `predictions`.

        Rows are read, predicted and written in parts, so memory doesn't grow with the table; they become part of
        `predictions` together, at the end. What is killed before that adds nothing, and can be called again.

        Args:
            data: A pandas, Polars, Arrow or Spark frame; a DuckDB relation or anything else that gives an Arrow stream;
                the path of a Parquet or CSV file or of a Delta table's folder; the name of a table or view of this
                warehouse; or a ``SELECT`` over them.
            model_uri: As for `find_model`; the version that it means now is pinned.
            key: The column that names each row.
            dataset: The name of what is scored: labels of the same name join to the predictions.
            source_id: Names this scoring: the same again adds nothing. None makes one up; for a Delta table, a table of
                this warehouse, and a question `at` a snapshot it is made from the table, its version and the model, so
                scoring the same again adds nothing.
            at: The version of a Delta table or of a table of this warehouse; or the snapshot that a view or question
                looks at, its text, or the name of a kept one.
            time: A column that says when each row happened, for `event_at`; None means now.
            keep: Columns whose values are kept in `prediction_inputs`, for reports about slices and drift; True keeps
                all of the signature's that hold no lists.
            on_error: What becomes of rows that the model fails on: ``raise`` ends the scoring and adds nothing;
                ``null`` finds them by halves, and their predictions are null.
            engine: For a path, name or question: ``embedded``, ``spark``, or a Spark session. A Spark frame is always
                scored by Spark.
            batch_rows: The most rows to give to the model at once; None means 65,536, and fewer where they are large.
            progress: True shows a bar on a terminal; a function is called with the share that is done, from 0 to 1,
                where it is known how many rows there are.
            allow_pickle: Whether loading the model may run a pickle.
            trusted_types: As for `load_model`.

        Returns:
            What was added.

        Raises:
            NotFoundError: No model, or no table, is there.
            SignatureError: A column that the model needs is missing, or of another type.
            ModelError: The model failed on a row.
            SqlError: A question that can't be asked.
            InvalidInputError: The data, engine or another argument can't be meant, or rows lack a key or time.
        """
        from mlwarehouse.udf.bad_rows import ON_ERROR
        from mlwarehouse.udf.streaming import Tally

        choices = [choice for choice in ON_ERROR if choice != "return"]
        if on_error not in choices:
            raise InvalidInputError(
                f"`on_error` is {' or '.join(choices)}; got {on_error!r}.{did_you_mean(str(on_error), choices)}"
            )
        if not (batch_rows is None or (isinstance(batch_rows, int) and batch_rows >= 1)):
            raise InvalidInputError(f"`batch_rows` is a number of rows, 1 or more; got {batch_rows!r}.")
        if not (isinstance(progress, bool) or callable(progress)):
            raise InvalidInputError(f"`progress` is True, False or a function; got {progress!r}.")
        if isinstance(keep, str):
            raise InvalidInputError(f"`keep` is a list of columns; got the text `{keep}`. Write [{keep!r}].")
        by_spark = means_spark(engine) and isinstance(data, Path | str)
        found = self.find_model(model_uri)
        pinned = f"models:/{found.name}/{found.version}" if found.name else model_uri
        if by_spark or type(data).__module__.startswith("pyspark."):
            from mlwarehouse.models import known_types
            from mlwarehouse.udf.shipping import Calling

            calling = Calling(
                allow_pickle, known_types(trusted_types), batch_rows, "null" if on_error == "null" else "raise"
            )
            taken = key, time, keep
            scoring, appended, n = self.score_on_spark(data, found, dataset, taken, calling, source_id, at, engine)
            # Of what was added before, nothing is known here.
            tally = Tally(**n) if appended.applied else Tally()
            return _scored(pinned, scoring, appended, tally)
        self.place(create=True)
        rows = scorable(self, data, at)

        def load() -> Predictor:
            from mlwarehouse.models import load_predictor

            return load_predictor(found.package, allow_pickle=allow_pickle, trusted_types=trusted_types)

        return self.score_rows(
            rows,
            found,
            load,
            pinned,
            key=key,
            dataset=dataset,
            source_id=source_id,
            time=time,
            keep=keep,
            on_error=on_error,
            batch_rows=batch_rows,
            progress=progress,
        )

    def score_rows(
        self,
        rows: Scorable,
        found: FoundModel,
        load: Callable[[], Predictor],
        pinned: str,
        *,
        key: str,
        dataset: str,
        source_id: str | None = None,
        time: str | None = None,
        keep: Sequence[str] | bool = (),
        on_error: str = "raise",
        batch_rows: int | None = None,
        progress: bool | Callable[[float], None] = False,
    ) -> Scored:
        """Score rows with a model that was found, and keep the predictions; see `score`.

        Args:
            rows: What is scored.
            found: The model.
            load: Loads it; called where the scoring wasn't done before.
            pinned: Its address, with its version.
            key: As for `score`.
            dataset: As for `score`.
            source_id: As for `score`.
            time: As for `score`.
            keep: As for `score`.
            on_error: ``raise`` or ``null``, as for `score`.
            batch_rows: As for `score`.
            progress: As for `score`.

        Returns:
            What was added.

        Raises:
            WarehouseError: As for `score`.
        """
        scoring = scoring_of(
            found, dataset, source_id or source_id_of(rows.state, found, dataset), rows.name, rows.version
        )
        from mlwarehouse.engines.base import Appended
        from mlwarehouse.query.progress import shown
        from mlwarehouse.tables import PREDICTIONS
        from mlwarehouse.udf.streaming import BATCH_ROWS, Tally, What

        tally = Tally()
        if self.engine().has_applied(PREDICTIONS, [txn_of(scoring)]):
            appended = Appended(self.engine().version(PREDICTIONS), applied=False, n_rows=0)
        else:
            predictor = load()
            what = What.of(key, time, keep, predictor.signature, rows.schema)
            with shown(progress) as call:
                parts = _predicted(rows, predictor, scoring, what, batch_rows or BATCH_ROWS, on_error, tally, call)
                appended = self._add(parts, scoring, has_inputs=bool(what.keep))
        if not appended.applied:
            tally = Tally()
        return _scored(pinned, scoring, appended, tally)

    def _add(
        self, parts: Iterator[tuple[pa.Table, pa.Table | None]], scoring: Scoring, *, has_inputs: bool
    ) -> Appended:
        from mlwarehouse.tables import PREDICTION_INPUTS, PREDICTIONS

        engine, txns = self.engine(), [txn_of(scoring)]
        with engine.staging(PREDICTIONS) as predictions, engine.staging(PREDICTION_INPUTS) as inputs:
            for rows, kept in parts:
                predictions.add(rows)
                if kept is not None:
                    inputs.add(kept)
            if has_inputs:
                # Before the predictions: with them the scoring is done, and isn't begun again.
                inputs.commit(txns)
            return predictions.commit(txns)


def _scored(model_uri: str, scoring: Scoring, appended: Appended, tally: Tally) -> Scored:
    return Scored(
        model_uri,
        scoring.dataset,
        scoring.source_id,
        appended.n_rows,
        appended.version,
        tally.n_scored,
        tally.n_lacking,
        tally.n_failed,
    )


def _predicted(
    rows: Scorable,
    predictor: Predictor,
    scoring: Scoring,
    what: What,
    batch_rows: int,
    on_error: str,
    tally: Tally,
    call: Callable[[float], None] | None,
) -> Iterator[tuple[pa.Table, pa.Table | None]]:
    """Rows of `predictions` and `prediction_inputs`, a file's worth at a time."""
    from mlwarehouse.models.arrow_rows import arrow_type
    from mlwarehouse.udf.streaming import file_sized, score_batches

    signature = predictor.signature
    types = {f.name: arrow_type(f) for f in signature.inputs if not f.dims} if signature is not None else {}
    scored = score_batches(
        rows.read(what.columns(predictor.signature, rows.schema), batch_rows, types),
        predictor,
        scoring,
        what,
        now=dt.datetime.now(dt.UTC),
        tally=tally,
        batch_rows=batch_rows,
        on_error="null" if on_error == "null" else "raise",
    )

    def watched() -> Iterator[tuple[pa.Table, pa.Table | None]]:
        for part in scored:
            if call is not None and rows.n_rows:
                call(min(tally.n_scored / rows.n_rows, 1.0))
            yield part

    return file_sized(watched())
