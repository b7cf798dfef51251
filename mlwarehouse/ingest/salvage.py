"""A spool that was damaged: what is wrong with it, and which rows can still be had from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse.engines.base import Engine
from mlwarehouse.errors import StorageError, WarehouseError
from mlwarehouse.ingest.decode import cut, rows_of
from mlwarehouse.ingest.plan import Plan, read_plan
from mlwarehouse.ingest.recover import is_of_these
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_format import HEADER_SLOTS
from mlwarehouse.ingest.spool_reader import SegmentReader
from mlwarehouse.tables import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

MENDED = ".mended"
"""Suffix of a damaged segment from which everything was taken that can be."""


def spool_faults(folder: SpoolFolder, engine: Engine) -> Iterator[tuple[str, str]]:
    """What is wrong with a spool.

    Args:
        folder: The spool.
        engine: The engine, for what the tables have of it.

    Yields:
        ``lost plan`` or ``torn segment``, and a sentence.
    """
    segments = folder.segments()
    plan = Plan()
    try:
        plan = read_plan(folder)
    except StorageError as error:
        yield "lost plan", str(error)
    if not folder.exists:
        if segments:
            yield "lost plan", f"The spool in `{folder.path}` holds segments and has no `spool.json`."
    else:
        yield from _plan_faults(folder, engine)
    for path in [*folder.damaged(), *segments]:
        reader = SegmentReader(path)
        try:
            if reader.is_finished() and reader.has_remains(plan.after.get(path.name, HEADER_SLOTS)):
                yield "torn segment", f"The spool's segment `{path.name}` has a damaged place, and records behind it."
        except StorageError as error:
            yield "torn segment", str(error)


def _plan_faults(folder: SpoolFolder, engine: Engine) -> Iterator[tuple[str, str]]:
    try:
        spool_id = folder.spool_id
        recorded = [engine.transaction_version(spec, spool_id) for spec in TABLES]
        # After the tables: a plan is written before its batch is committed.
        plan = read_plan(folder)
    except WarehouseError as error:
        if "spool.json" in str(error):
            yield "lost plan", str(error)
        return
    if folder.segments() and not is_of_these(plan, spool_id, recorded):
        yield (
            "lost plan",
            f"The spool's plan says batch {plan.batch}, and the tables have its batch "
            f"{max(r or 0 for r in recorded)}: the plan is gone or of another time.",
        )
    if plan.batch and not folder.lock_path.exists():
        yield "lost plan", f"The spool in `{folder.path}` has committed and its `committer.lock` is gone."


def spooled_rows(folder: SpoolFolder) -> dict[str, pa.Table]:
    """The rows of a spool that were committed and are still in its segments, by table; recorded with the last batch.

    Args:
        folder: The spool.
    """
    plan = read_plan(folder)
    stretches = []
    for path in folder.segments():
        stretch = SegmentReader(path).read(HEADER_SLOTS)
        if stretch is not None:
            stretches.append(cut(stretch, plan.after.get(path.name, HEADER_SLOTS)))
    return rows_of(stretches, recorded_at=plan.recorded_at, experiments=plan.experiments, floors={})


def salvaged_rows(path: Path, plan: Plan) -> dict[str, pa.Table]:
    """The rows of a damaged segment that can be read, wherever they stand, by table.

    Args:
        path: The segment.
        plan: The spool's plan, for ids of experiments and the time that the rows are recorded at.
    """
    reader = SegmentReader(path)
    prefix = reader.read(HEADER_SLOTS)
    stretches = reader.remains(HEADER_SLOTS)
    if prefix is not None:
        stretches.insert(0, prefix)
    return rows_of(stretches, recorded_at=plan.recorded_at, experiments=plan.experiments, floors={})
