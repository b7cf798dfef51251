"""Runs that two warehouses have under one id, and points of runs that were imported into both."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.base import Engine
from mlwarehouse.imports.known import WRITER, Known
from mlwarehouse.merging.other import Other
from mlwarehouse.merging.rows import CHUNK_ROWS, Rows, in_schema
from mlwarehouse.tables import METRICS

_STARTED = f"""
    SELECT DISTINCT run_id, writer_id, writer_seq, STARTS_WITH(writer_id, '{WRITER}') AS is_imported
    FROM run_events
    WHERE kind = 'started'"""

IMPORTED = f"STARTS_WITH(writer_id, '{WRITER}')"


def new_and_clashing(here: Engine, other: Other) -> tuple[int, set[str]]:
    """How many runs aren't here; and the ids that stand for different runs here and there.

    A run is the same where both have one record of its start, as when one warehouse began as a copy of the other; and
    where both imported it, since imports keep the ids that runs have where they were logged.
    """
    ours, theirs = here.query(_STARTED), other.ask(_STARTED)
    ids = set(pc.unique(ours.column("run_id")).to_pylist())
    their_ids = set(pc.unique(theirs.column("run_id")).to_pylist())
    both = ids & their_ids
    if not both:
        return len(their_ids), set()
    keys = ["run_id", "writer_id", "writer_seq"]
    same = theirs.select(keys).join(ours.select(keys), keys, join_type="inner")
    imported = [set(t.filter(t.column("is_imported")).column("run_id").to_pylist()) for t in (ours, theirs)]
    return len(their_ids - ids), both - set(same.column("run_id").to_pylist()) - (imported[0] & imported[1])


def bring_imported_points(rows: Rows, here: Engine, other: Other, clashing: set[str]) -> int:
    """Bring points that imports wrote, by series: those beyond what imports have written of it here.

    So a run that was imported into both warehouses, of one store at different times, comes once.
    """
    if not rows.differs(METRICS, IMPORTED).num_rows:
        return 0
    n = 0
    for run_ids in _ranges(other, clashing):
        known = Known(here, run_ids)
        points = in_schema(
            METRICS,
            other.ask(
                f"""
                SELECT * FROM metrics
                WHERE run_id IN (SELECT UNNEST($run_ids)) AND {IMPORTED}
                ORDER BY run_id, key, recorded_at, writer_id, writer_seq""",
                run_ids=run_ids,
            ),
        )
        n += rows.append(METRICS, lambda reading, points=points, known=known: known.new_points(points, reading))  # type: ignore[misc]
    return n


def _ranges(other: Other, clashing: set[str]) -> Iterator[list[str]]:
    counts = other.ask(f"SELECT run_id, COUNT(*) AS n FROM metrics WHERE {IMPORTED} GROUP BY run_id ORDER BY run_id")
    some: list[str] = []
    n_points = 0
    for run_id, n in zip(counts.column(0).to_pylist(), counts.column(1).to_pylist(), strict=True):
        if run_id in clashing:
            continue
        if some and n_points + n > CHUNK_ROWS:
            yield some
            some, n_points = [], 0
        some.append(run_id)
        n_points += n
    if some:
        yield some


def of_others(rows: pa.Table, run_ids: set[str]) -> pa.Table:
    """Rows without those of some runs."""
    if not run_ids:
        return rows
    return rows.filter(pc.invert(pc.is_in(rows.column("run_id"), pa.array(sorted(run_ids), pa.string()))))
