"""Rows of a table that one warehouse has and the other lacks: found, and appended as they are.

Whatever writes to a warehouse numbers what it writes, so a row is known again by its writer, its number and what it is
about. Only imports of one source into two warehouses write under one name and number in both; for their rows the moment
counts too when they were recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.base import Engine, Reading, Txn
from mlwarehouse.imports.known import WRITER
from mlwarehouse.imports.writing import append_new
from mlwarehouse.merging.other import Other
from mlwarehouse.tables import ACCESS_EVENTS, TABLES, TableSpec

CHUNK_ROWS = 500_000
"""Rows that are in memory at once, or those of one commit if they are more."""

ABOUT: Mapping[str, str] = {
    "experiment_events": "experiment_id",
    "run_events": "run_id",
    "param_events": "run_id",
    "metrics": "run_id",
    "tag_events": "run_id",
    "artifact_events": "run_id",
    "input_events": "run_id",
    "logged_model_events": "model_id",
    "predictions": "row_key",
    "prediction_inputs": "row_key",
    "labels": "row_key",
    "audit": "object",
}
"""What a row is about, by table. The registry's events are numbered by model, and merged by
`mlwarehouse.registry.merging`."""

CARRIED = tuple(spec for spec in TABLES if spec is not ACCESS_EVENTS)
"""The tables that are merged and exported: who may do what is each server's own affair."""

SOURCED = ("bulk:", "labels:", "score:")
"""What the names of writers begin with whose rows came under a source id: once, by a transaction of that name."""

_GROUP = ("writer_id", "recorded_at", "n", "first", "last")

Change = Callable[[pa.Table], pa.Table]


class Rows:
    """Brings rows from another warehouse; or, on a dry run, only counts them."""

    def __init__(self, here: Engine, other: Other, *, writes: bool) -> None:
        """Bring them to an engine's tables."""
        self._here, self._other, self._writes = here, other, writes

    def bring(
        self, spec: TableSpec, *, where: str = "TRUE", change: Change | None = None, stored: Change | None = None
    ) -> int:
        """Bring the rows that aren't here.

        Args:
            spec: The table.
            where: A condition that they meet.
            change: What they are here.
            stored: Told those that are lacking, before they come; what it returns comes.

        Returns:
            How many came, or would have.
        """
        n = 0
        for given in self._chunks(spec, where):
            n += self.add(spec, given if change is None else change(given), stored)
        return n

    def add(self, spec: TableSpec, rows: pa.Table, stored: Change | None = None) -> int:
        """Bring those of some rows that aren't here; see `bring`."""
        rows = self.lacking(spec, rows, None)
        if stored is not None and self._writes and rows.num_rows:
            rows = stored(rows)
        return self.append(spec, lambda reading: self.lacking(spec, rows, reading))

    def append(self, spec: TableSpec, new_rows: Callable[[Reading | None], pa.Table]) -> int:
        """Append rows as they are.

        Args:
            spec: The table.
            new_rows: Finds them; it is asked again where another merge or import came first.
        """
        if not self._writes:
            return int(new_rows(None).num_rows)
        return append_new(self._here, spec, new_rows, lambda rows, _: (_sorted(spec, rows), self._sources(spec, rows)))

    def lacking(self, spec: TableSpec, rows: pa.Table, reading: Reading | None) -> pa.Table:
        """Those of some rows that aren't here."""
        if not rows.num_rows:
            return rows
        about = ABOUT[spec.name]
        seq = pc.min_max(rows.column("writer_seq")).as_py()
        known = self._here.query(
            f"""
            SELECT DISTINCT
                writer_id, writer_seq, {about},
                CASE WHEN STARTS_WITH(writer_id, '{WRITER}') THEN EPOCH_US(recorded_at) ELSE 0 END AS moment
            FROM {spec.name}
            WHERE writer_id IN (SELECT UNNEST($writers)) AND writer_seq BETWEEN $low AND $high""",
            reading=reading,
            parameters={
                "writers": pc.unique(rows.column("writer_id")).to_pylist(),
                "low": seq["min"],
                "high": seq["max"],
            },
        )
        if not known.num_rows:
            return rows
        is_imported = pc.starts_with(rows.column("writer_id"), WRITER)
        moment = pc.if_else(is_imported, rows.column("recorded_at").cast(pa.int64()), 0)
        keyed = pa.table(
            {
                "writer_id": rows.column("writer_id"),
                "writer_seq": rows.column("writer_seq"),
                about: rows.column(about),
                "moment": moment,
                "place": np.arange(rows.num_rows),
            }
        )
        new = without(keyed, known, ("writer_id", "writer_seq", about, "moment"))
        return rows.take(new.column("place"))

    def differs(self, spec: TableSpec, where: str) -> pa.Table:
        """What was recorded by one writer at one time, where it isn't the same here: columns of `_GROUP`."""
        groups = f"""
            SELECT writer_id, recorded_at, COUNT(*) AS n, MIN(writer_seq) AS first, MAX(writer_seq) AS last
            FROM {spec.name}
            WHERE {where}
            GROUP BY writer_id, recorded_at"""
        return without(self._other.ask(groups), self._here.query(groups), _GROUP)

    def _chunks(self, spec: TableSpec, where: str) -> Iterator[pa.Table]:
        groups = self.differs(spec, where).sort_by([("recorded_at", "ascending"), ("writer_id", "ascending")])
        begin, counts = 0, groups.column("n").to_numpy()
        while begin < len(counts):
            within = int(np.searchsorted(np.cumsum(counts[begin:]), CHUNK_ROWS, side="right"))
            some = groups.slice(begin, max(within, 1))
            begin += some.num_rows
            times = some.column("recorded_at")
            rows = self._other.ask(
                f"""
                SELECT * FROM {spec.name}
                WHERE
                    writer_id IN (SELECT UNNEST($writers))
                    AND recorded_at BETWEEN $first AND $last AND ({where})""",
                writers=pc.unique(some.column("writer_id")).to_pylist(),
                first=times[0].as_py(),
                last=times[-1].as_py(),
            )
            yield in_schema(spec, rows)

    def _sources(self, spec: TableSpec, rows: pa.Table) -> Sequence[Txn]:
        """Source ids that rows came under, so that nobody brings them here once more under the same."""
        writers = [w for w in pc.unique(rows.column("writer_id")).to_pylist() if w.startswith(SOURCED)]
        return [Txn(w, 1) for w in writers if not self._here.transaction_version(spec, w)]


def in_schema(spec: TableSpec, rows: pa.Table) -> pa.Table:
    """Rows with plain columns as the table declares them."""
    schema = spec.arrow_schema()
    return pa.table([rows.column(f.name).cast(f.type) for f in schema], schema=schema)


def without(given: pa.Table, known: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Rows of a table whose keys, which aren't null, no row of another has."""
    if not given.num_rows or not known.num_rows:
        return given
    types: dict[str, Any] = {f.name: f.type for f in given.schema}
    keyed = pa.table({name: known.column(name).cast(types[name]) for name in keys})
    return given.join(keyed, list(keys), join_type="left anti").select(given.column_names)


def _sorted(spec: TableSpec, rows: pa.Table) -> pa.Table:
    return rows.sort_by([(name, "ascending") for name in spec.sort_by])
