"""What is logged and not yet committed, as rows: the spool read as the tables' newest part.

Consistent with the tables: the plan is read, then the tables' versions, then the spool, then the plan again; if it is
the same, a table that has the plan's number holds the plan's stretches, and one that lacks it holds all before them.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace

import pyarrow as pa

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.errors import StorageError
from mlwarehouse.ingest.decode import behind, cut, experiment_names, rows_of
from mlwarehouse.ingest.drain import settled_experiments
from mlwarehouse.ingest.plan import Plan, planned_rows, read_plan
from mlwarehouse.ingest.recover import floors, is_of_these, writers_of
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_format import HEADER_SLOTS
from mlwarehouse.ingest.spool_reader import SegmentReader, Slots
from mlwarehouse.tables import TABLES

TRIES = 50
"""The plan changes about once a second and one try takes milliseconds."""

PATIENCE = 5
"""After so many tries the committer is asked to wait."""


def fresh_reading(folder: SpoolFolder, engine: Engine) -> Reading:
    """A reading of everything logged on this machine and everything committed anywhere.

    Args:
        folder: This machine's spool.
        engine: The engine that will answer.

    Returns:
        A reading pinned to table versions, with the rows that are still in the spool.

    Raises:
        StorageError: The spool kept changing under the reader.
    """
    if not folder.exists:
        return Reading()
    for tries in range(TRIES):
        # On a busy machine a batch may be over sooner than a look at it.
        with folder.reading() if tries >= PATIENCE else nullcontext():
            reading = _try(folder, engine)
        if reading is not None:
            return reading
    raise StorageError(f"The spool in `{folder.path}` changed {TRIES} times while it was read; try again.")


def _try(folder: SpoolFolder, engine: Engine) -> Reading | None:
    """A reading; None where a batch was committed meanwhile."""
    plan = read_plan(folder)
    segments = folder.segments()
    if not segments:
        # Nothing is in the spool; and what left it is committed, since a plan is committed before it is let go.
        return Reading()
    spool_id = folder.spool_id
    states = {spec.name: engine.state(spec, spool_id) for spec in TABLES}
    stretches = []
    for path in segments:
        stretch = SegmentReader(path).read(plan.before.get(path.name, HEADER_SLOTS))
        if stretch is not None:
            stretches.append((path.name, stretch))
    if read_plan(folder) != plan:
        return None
    reading = Reading(versions={n: v for n, (v, _) in states.items()})
    recorded = {n: t or 0 for n, (_, t) in states.items()}
    if not is_of_these(plan, spool_id, recorded.values()):
        # The plan of another time, say from a backup: the next committer replaces it.
        present = writers_of(p.name for p in segments)
        plan = Plan(batch=max(recorded.values()) + 1, floors=floors(engine, present, reading))
    overlay = _rows(engine, plan, stretches, {n: t >= plan.batch for n, t in recorded.items()})
    return replace(reading, overlay=overlay)


def _rows(
    engine: Engine, plan: Plan, stretches: list[tuple[str, Slots]], has_plan: dict[str, bool]
) -> dict[str, pa.Table]:
    planned = [cut(s, plan.after.get(n, HEADER_SLOTS)) for n, s in stretches]
    later = [behind(s, plan.after.get(n, HEADER_SLOTS)) for n, s in stretches]
    experiments = {**plan.experiments, **settled_experiments(engine, experiment_names(later))}
    overlay = {name: table for name, table in planned_rows(plan, planned).items() if not has_plan[name]}
    now = max(time.time_ns() // 1000, plan.recorded_at + 1)
    for name, table in rows_of(later, recorded_at=now, experiments=experiments, floors=plan.floors).items():
        overlay[name] = _joined(overlay[name], table) if name in overlay else table
    return overlay


def _joined(first: pa.Table, second: pa.Table) -> pa.Table:
    return pa.concat_tables([first, second]).unify_dictionaries()
