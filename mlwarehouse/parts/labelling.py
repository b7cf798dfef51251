"""The part of a warehouse that takes the truth for scored rows."""

from __future__ import annotations

import time
import uuid
from typing import Any

from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.parts.asking import Asking
from mlwarehouse.parts.scorable import scorable


class Labelling(Asking):
    """Labels."""

    def log_labels(
        self, data: Any, *, dataset: str, key: str, label: str, output: str = "prediction", source_id: str | None = None
    ) -> int:
        """Record the truth for rows that were, or will be, scored.

        What is told later about a row replaces what was told before, in all views and reports; both stay in `labels`.
        A null says that the truth isn't known after all.

        Args:
            data: As for `score`, but for Spark's frames.
            dataset: The name under which the rows were scored.
            key: The column that names each row.
            label: The column with the truth: numbers, or text.
            output: The model's output that it is the truth for.
            source_id: Names these labels: the same again adds nothing. None makes one up.

        Returns:
            Rows added.

        Raises:
            InvalidInputError: A column is missing or of another kind; a row has no key; or the dataset was scored by
                models that don't have this output.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        from mlwarehouse.engines.base import Txn
        from mlwarehouse.ingest.identity import login_name
        from mlwarehouse.tables import LABELS
        from mlwarehouse.udf.streaming import BATCH_ROWS

        self.place(create=True)
        found = scorable(self, data, None)
        for column in (key, label):
            if column not in found.schema.names:
                raise InvalidInputError(
                    f"The labels have no column `{column}`.{did_you_mean(column, found.schema.names)}"
                )
        schema = pa.schema([found.schema.field(name) for name in dict.fromkeys((key, label))])
        table = pa.Table.from_batches(found.read(schema.names, BATCH_ROWS, {}), schema)
        keys, truth = table.column(key).cast(pa.string()), table.column(label)
        if keys.null_count:
            raise InvalidInputError(f"Column `{key}` names the rows, and {keys.null_count} rows have none.")
        self._check_output(dataset, output)
        if pa.types.is_dictionary(truth.type):
            truth = truth.cast(truth.type.value_type)
        is_text = pa.types.is_string(truth.type) or pa.types.is_large_string(truth.type)
        is_number = pa.types.is_integer(truth.type) or pa.types.is_floating(truth.type)
        if pa.types.is_boolean(truth.type):
            truth, is_number = truth.cast(pa.int8()), True
        if not (is_text or is_number or pa.types.is_null(truth.type)):
            raise InvalidInputError(f"Column `{label}` is {truth.type}; the truth is a number, a boolean or a text.")
        n = table.num_rows
        source_id = source_id or uuid.uuid4().hex
        now = pa.repeat(pa.scalar(time.time_ns() // 1000, pa.int64()).cast(pa.timestamp("us", tz="UTC")), n)
        rows = pa.table(
            {
                "dataset": pa.repeat(dataset, n),
                "row_key": keys,
                "output": pa.repeat(output, n),
                "value": pa.nulls(n, pa.float64()) if is_text else pc.cast(truth, pa.float64(), safe=False),
                "text": truth.cast(pa.string()) if is_text else pa.nulls(n, pa.string()),
                "actor": pa.repeat(self.settings.actor or login_name(), n),
                "event_at": now,
                "recorded_at": now,
                "writer_id": pa.repeat(f"labels:{source_id}", n),
                "writer_seq": pa.array(range(n), pa.int64()),
            }
        )
        return self.engine().append(LABELS, rows, txns=[Txn(f"labels:{source_id}", 1)]).n_rows

    def _check_output(self, dataset: str, output: str) -> None:
        """Refuse labels that would never join to a prediction."""
        question = "SELECT DISTINCT output FROM predictions WHERE dataset = $dataset ORDER BY output"
        known = self.engine().query(question, parameters={"dataset": dataset}).column("output").to_pylist()
        if known and output not in known:
            raise InvalidInputError(
                f"The models that scored dataset `{dataset}` have no output `{output}`; say `output` as one of "
                f"{', '.join(known)}.{did_you_mean(output, known)}"
            )
