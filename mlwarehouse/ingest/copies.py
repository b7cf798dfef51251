"""Draining a copy of a spool: one that was carried here from another machine, once or again and again.

The copy is only read. What the tables have is told by the tables, writer by writer; what is missing is committed in a
term of its own (see `recover`), so that neither a second copy nor the spool itself, drained elsewhere at the same time,
can add the same rows. A copy may have been made while files were written: a writer's segments count as far as they
follow each other without a gap, since what comes after a gap would hide the rows that a later copy brings.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse.engines.base import Engine, Reading, Txn
from mlwarehouse.errors import ConcurrentChangeError, StorageError
from mlwarehouse.ingest.decode import cut, experiment_names, rows_of
from mlwarehouse.ingest.drain import BATCH_SLOTS, settled_experiments
from mlwarehouse.ingest.plan import Plan, read_plan
from mlwarehouse.ingest.recover import floors, last_recorded, take_over, writers_of
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_format import HEADER_SLOTS
from mlwarehouse.ingest.spool_reader import SegmentReader, Slots
from mlwarehouse.tables import TABLES, TABLES_BY_NAME

if TYPE_CHECKING:
    import pyarrow as pa

MAX_TRIES = 20
"""How often another one may take the spool over while this one drains it."""


@dataclass(frozen=True)
class CopyDrained:
    """What was done with a copy of a spool.

    Attributes:
        n_rows: Rows committed; 0 when the tables had all of them.
        n_held_back: Segments left out, because the copy lacks what their writers logged before.
    """

    n_rows: int
    n_held_back: int


@dataclass(frozen=True)
class _Part:
    """The part of a segment that counts: its file, and the index of the first slot behind it."""

    path: Path
    end: int


class _TakenOver(Exception):
    """Another one has begun a new term."""


def drain_copy(
    folder: SpoolFolder, engine: Engine, *, skip_gaps: bool = False, progress: Callable[[int], None] | None = None
) -> CopyDrained:
    """Commit what a copy of a spool has and the tables lack.

    Args:
        folder: The copy; it stays as it is.
        engine: The engine that commits.
        skip_gaps: Commit also what comes after a gap; what is missing there is then refused for ever.
        progress: Told the number of rows after each step.

    Returns:
        What was done.

    Raises:
        StorageError: That folder isn't a spool, or a commit failed.
        ConcurrentChangeError: Others took the spool over each time; what was committed stays, so try again.
    """
    spool_id = folder.spool_id
    engine.create_tables(TABLES)
    n_rows = 0
    for _ in range(MAX_TRIES):
        writers = writers_of(p.name for p in folder.segments())
        parts, n_held_back = _whole_parts(folder, floors(engine, writers, Reading()), skip_gaps)
        if not any(_lacking(engine, folder, parts, writers)):
            return CopyDrained(n_rows, n_held_back)
        batch = take_over(engine, spool_id)
        recorded_at = max(time.time_ns() // 1000, last_recorded(engine, writers) + 1)
        try:
            for tables in _lacking(engine, folder, parts, writers, recorded_at):
                batch += 1
                for name, rows in tables.items():
                    txn = Txn(spool_id, batch)
                    if not engine.append(TABLES_BY_NAME[name], rows, txns=[txn]).applied:
                        raise _TakenOver
                    n_rows += rows.num_rows
                if progress is not None:
                    progress(sum(rows.num_rows for rows in tables.values()))
        except _TakenOver:
            time.sleep(random.uniform(0, 0.5))
            continue
        return CopyDrained(n_rows, n_held_back)
    raise ConcurrentChangeError(
        f"The spool `{spool_id}` is drained by others at the same time; {n_rows} of its rows were committed from "
        f"`{folder.path}`. Run it again when they are done."
    )


def _whole_parts(
    folder: SpoolFolder, known: Mapping[str, Mapping[str, int]], skip_gaps: bool
) -> tuple[list[_Part], int]:
    """The segments that count, in order, and how many don't."""
    parts: list[_Part] = []
    held_back = 0
    reached: dict[str, int] = {}
    # Where nobody has committed from the spool, nothing was removed from it: each writer begins with its first record.
    known_writers = {w for seqs in known.values() for w in seqs} if _plan(folder).batch else set()
    for path in folder.segments():
        writer = path.name.partition("-")[0]
        stretch = SegmentReader(path).read(HEADER_SLOTS)
        if stretch is None:
            held_back += 1
            continue
        expected = reached.get(writer, stretch.first_seq if writer in known_writers else 0)
        if stretch.first_seq > expected and not skip_gaps:
            held_back += 1
            reached[writer] = -1
            continue
        reached[writer] = stretch.first_seq + stretch.end
        parts.append(_Part(path, stretch.end))
    return parts, held_back


def _lacking(
    engine: Engine, folder: SpoolFolder, parts: list[_Part], writers: set[str], recorded_at: int = 0
) -> Iterator[dict[str, pa.Table]]:
    """The rows that the tables lack, by table, in steps; the tables are asked once, before the first step."""
    known = floors(engine, writers, Reading())
    # Ids that the spool's own committer writes instead of others, of experiments made before the copy.
    experiments = dict(_plan(folder).experiments)
    batch: list[Slots] = []
    for number, part in enumerate(parts, start=1):
        stretch = SegmentReader(part.path).read(HEADER_SLOTS)
        if stretch is None:
            raise StorageError(f"The segment `{part.path}` went away while it was read; copy the spool again.")
        batch.append(cut(stretch, part.end))
        if number == len(parts) or sum(s.end for s in batch) >= BATCH_SLOTS:
            experiments |= settled_experiments(engine, experiment_names(batch))
            tables = rows_of(batch, recorded_at=recorded_at, experiments=experiments, floors=known)
            if tables:
                yield tables
            batch = []


def _plan(folder: SpoolFolder) -> Plan:
    """The plan of the spool's own committer, as far as the copy has it."""
    try:
        return read_plan(folder)
    except StorageError:
        return Plan()
