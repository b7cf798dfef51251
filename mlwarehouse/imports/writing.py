"""Appending what is new of a batch, table by table.

A table's new rows are found at one version of it, and are only appended if no other import has appended to it since;
else they are found again. So two imports at once add nothing twice. A run's own events come last: a run that is there
has all that belongs to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.base import Engine, Reading, Txn
from mlwarehouse.errors import StorageError
from mlwarehouse.imports.known import WRITER
from mlwarehouse.ingest.bulk import metric_rows
from mlwarehouse.ingest.values import param_number
from mlwarehouse.tables import METRICS, TableSpec

COUNTER = "imports"
"""The Delta transaction that numbers the commits of imports to a table."""

MAX_TRIES = 100
"""How often another import may come first."""

_TIME = pa.timestamp("us", tz="UTC")

NewRows = Callable[[Reading | None], pa.Table]
"""Finds the rows to append at a reading: a table's own columns, and ``event_at`` as microseconds or times."""


def append_new(
    engine: Engine,
    spec: TableSpec,
    new_rows: Callable[[Reading], pa.Table],
    made: Callable[[pa.Table, int], tuple[pa.Table, Sequence[Txn]]],
) -> int:
    """Append what a table lacks, unless another import or merge has appended to it since that was found out.

    Args:
        engine: Appends.
        spec: The table.
        new_rows: Finds what is lacking at a reading; it is asked again where another one came first.
        made: The rows to append for it, given the number of the commit among those of imports; and more transactions
            that go with them.

    Returns:
        How many rows were added.

    Raises:
        StorageError: The commit failed; nothing was added.
    """
    for _ in range(MAX_TRIES):
        version, number = engine.state(spec, COUNTER)
        found = new_rows(Reading(versions={spec.name: version}))
        if not found.num_rows:
            return 0
        # Refused where the number is taken: what was found at the version isn't all that is new any more.
        following = Txn(COUNTER, (number or 0) + 1)
        rows, more = made(found, following.version)
        done = engine.append(spec, rows, txns=[following, *more])
        if done.applied:
            return done.n_rows
    raise StorageError(
        f"Other imports wrote to table `{spec.name}` {MAX_TRIES} times while this one did; run it again to go on."
    )


class Writer:
    """Appends to a warehouse's tables in the name of a source; or, on a dry run, only counts."""

    def __init__(self, engine: Engine | None, source_id: str, *, writes: bool) -> None:
        """Write by an engine, which is None where there is no warehouse; or only look what would be written."""
        self._engine = engine
        self._writes = writes
        self._writer_id = f"{WRITER}{source_id}"

    def append(self, spec: TableSpec, new_rows: NewRows) -> int:
        """Append rows that aren't there.

        Args:
            spec: The table.
            new_rows: Finds them; it is asked again where another import came first.

        Returns:
            How many were added, or would have been.

        Raises:
            StorageError: The commit failed; nothing was added.
        """
        if self._engine is None or not self._writes:
            return int(new_rows(None).num_rows)
        return append_new(self._engine, spec, new_rows, lambda found, number: (self._rows(spec, found, number), ()))

    def _rows(self, spec: TableSpec, found: pa.Table, number: int) -> pa.Table:
        now = time.time_ns() // 1000
        first = number << 32
        if spec is METRICS:
            rows = metric_rows(
                found.set_column(
                    found.column_names.index("event_at"), "timestamp", found.column("event_at").cast(_TIME)
                ),
                run_id=None,
                key=None,
                writer_id=self._writer_id,
                recorded_at=now,
                attempts_of=lambda run_ids: dict.fromkeys(run_ids, 0),
            )
            place = rows.column_names.index("writer_seq")
            return rows.set_column(place, "writer_seq", pc.add(rows.column("writer_seq"), first))
        n = found.num_rows
        found = found.combine_chunks()
        given: dict[str, Any] = dict(zip(found.column_names, found.columns, strict=True))
        given |= {
            "event_at": found.column("event_at").cast(_TIME),
            "recorded_at": pa.repeat(pa.scalar(now, pa.int64()), n).cast(_TIME),
            "writer_id": pa.repeat(self._writer_id, n),
            "writer_seq": pa.array(range(first, first + n), pa.int64()),
            "attempt": pa.repeat(pa.scalar(0, pa.int32()), n),
        }
        schema = spec.arrow_schema()
        columns = [given[f.name].cast(f.type) if f.name in given else pa.nulls(n, f.type) for f in schema]
        return pa.table(columns, schema=schema).sort_by([(c, "ascending") for c in spec.sort_by])


def numbers_of(texts: pa.ChunkedArray) -> pa.Array:
    """Of each text the number that it is, or null; each distinct text is looked at once."""
    coded = texts.combine_chunks().dictionary_encode()
    numbers = pa.array([param_number(text) for text in coded.dictionary.to_pylist()], pa.float64())
    return numbers.take(coded.indices)
