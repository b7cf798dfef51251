"""Scoring a frame on this machine, as rows of the tables."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pyarrow as pa

from mlwarehouse.models import load_predictor
from mlwarehouse.tables import PREDICTIONS
from mlwarehouse.udf import Scoring
from mlwarehouse.udf.streaming import BATCH_ROWS, Tally, What, file_sized, score_batches

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
SCORING = Scoring("job-1", "houses", "prices", 3, run_id="r1", input_table="houses", input_version=7)


def scored(rows, package, *, key="id", scoring=SCORING, batch_rows=BATCH_ROWS, tally=None, on_error="raise", **more):
    """All rows of `predictions`, or with `keep` also those of `prediction_inputs`."""
    table = pa.Table.from_pandas(rows, preserve_index=False) if isinstance(rows, pd.DataFrame) else pa.table(rows)
    predictor, what = load_predictor(package.folder), What(key, **more)
    what.columns(predictor.signature, table.schema)
    parts = score_batches(
        table.to_batches(), predictor, scoring, what,
        now=NOON, tally=tally or Tally(), batch_rows=batch_rows, on_error=on_error,
    )  # fmt: skip
    found = list(file_sized(parts))
    predictions = pa.concat_tables([p for p, _ in found]) if found else PREDICTIONS.arrow_schema().empty_table()
    assert predictions.schema.names == PREDICTIONS.arrow_schema().names
    return (predictions, pa.concat_tables([i for _, i in found])) if "keep" in more else predictions
