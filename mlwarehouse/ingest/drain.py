"""Draining a spool into the tables: plan, commit, let go. Whoever holds the committer's lock may do it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse.disk import sync_path
from mlwarehouse.engines.base import Engine, Txn
from mlwarehouse.ingest.decode import cut, experiment_names
from mlwarehouse.ingest.identity import experiment_id_of
from mlwarehouse.ingest.plan import Plan, planned_rows
from mlwarehouse.ingest.recover import plan_from_tables, still_needed, trusted_plan
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_format import HEADER_SLOTS
from mlwarehouse.ingest.spool_reader import SegmentReader, Slots
from mlwarehouse.tables import TABLES, TABLES_BY_NAME

if TYPE_CHECKING:
    import pyarrow as pa


BATCH_SLOTS = 1 << 21
"""A batch ends with the segment that brings it to this many slots: what waited for days is committed in steps."""


@dataclass(frozen=True)
class Drained:
    """What one pass did.

    Attributes:
        n_rows: Rows committed.
        n_commits: Commits made, at most one a table.
        n_live: Segments whose writers are alive.
        has_more: Whether segments were left for the next pass because this batch was full.
    """

    n_rows: int
    n_commits: int
    n_live: int
    has_more: bool


class Drain:
    """Commits what a spool holds, batch by batch. Use it under the committer's lock only."""

    def __init__(self, folder: SpoolFolder, engine: Engine) -> None:
        """Take up the spool where the last committer left it, finishing its last batch.

        Args:
            folder: The spool.
            engine: The engine that commits.
        """
        self._folder = folder
        self._engine = engine
        self._spool_id = folder.spool_id
        self._readers: dict[str, SegmentReader] = {}
        engine.create_tables(TABLES)
        self._plan = trusted_plan(folder, engine) or plan_from_tables(folder, engine)
        if self._plan.rows and not self._finish(self._plan):
            self._plan = plan_from_tables(folder, engine)
        there = {p.name for p in folder.segments()}
        self._plan = replace(self._plan, after={n: end for n, end in self._plan.after.items() if n in there})

    def step(self) -> Drained:
        """Commit what is in the spool now, as one batch.

        Returns:
            What was done. Where a copy of the spool has been drained meanwhile, nothing, and there is more: the next
            pass goes by what the tables have.
        """
        done = self._plan
        paths = {p.name: p for p in self._folder.segments()}
        # Asked before reading: what a writer adds after this answer makes the segment a live one.
        finished = {name for name in paths if self._reader(name).is_finished()}
        fresh: dict[str, Slots] = {}
        spent: list[str] = []
        n_slots = 0
        for name in paths:
            start = done.after.get(name, HEADER_SLOTS)
            if n_slots >= BATCH_SLOTS:
                break
            stretch = self._reader(name).read(start)
            if stretch is not None and stretch.end > start:
                fresh[name] = stretch
                n_slots += stretch.end - start
            elif name in finished:
                spent.append(name)
        self._let_go([paths[name] for name in spent])
        # Until the next plan is written the one on disk names them; a file of the name that comes back is a copy.
        done = self._plan = replace(done, after={n: end for n, end in done.after.items() if n not in spent})
        result = Drained(0, 0, len(paths) - len(finished), n_slots >= BATCH_SLOTS)
        if not fresh:
            return result
        # With those that aren't there at this moment: a folder that was out of reach comes back as it was.
        before = {n: done.after.get(n, HEADER_SLOTS) for n in {**done.after, **paths} if n not in spent}
        plan = Plan(
            batch=done.batch + 1,
            # Never behind the batch before, whatever the clock does.
            recorded_at=max(time.time_ns() // 1000, done.recorded_at + 1),
            before=before,
            after={**before, **{n: s.end for n, s in fresh.items()}},
            experiments=self._settled(list(fresh.values()), done),
            floors=still_needed(done.floors, before),
            spool_id=self._spool_id,
        )
        tables = planned_rows(plan, list(fresh.values()))
        plan = replace(plan, rows={name: rows.num_rows for name, rows in tables.items()})
        self._folder.let_read()
        plan.write(self._folder)
        self._plan = plan
        n_commits = 0
        for name, rows in tables.items():
            if not self._append(name, rows):
                self._plan = plan_from_tables(self._folder, self._engine)
                return replace(result, n_commits=n_commits, has_more=True)
            n_commits += 1
        self._folder.note_committed(plan.batch)
        return replace(result, n_rows=sum(plan.rows.values()), n_commits=n_commits)

    def _let_go(self, spent: list[Path]) -> None:
        """Remove segments that are committed to their end; one with a damaged place goes aside, for `doctor`.

        The plan names them until they are gone for good: a segment that is there and isn't named is a new one.
        """
        for path in spent:
            if self._reader(path.name).has_remains(self._plan.after.get(path.name, HEADER_SLOTS)):
                self._folder.put_aside(path)
            else:
                path.unlink(missing_ok=True)
            self._readers.pop(path.name, None)
        if spent:
            sync_path(self._folder.segments_path)

    def _reader(self, name: str) -> SegmentReader:
        if name not in self._readers:
            self._readers[name] = SegmentReader(self._folder.segments_path / name)
        return self._readers[name]

    def _finish(self, plan: Plan) -> bool:
        """Commit what the batch of a plan that was found still lacks, from exactly the stretches that it names.

        Returns:
            Whether it is all committed; False when another one has taken the spool over.
        """
        stretches = []
        for name, end in plan.after.items():
            start = plan.before.get(name, HEADER_SLOTS)
            stretch = self._reader(name).read(start) if end > start else None
            if stretch is not None:
                stretches.append(cut(stretch, end))
        tables = planned_rows(plan, stretches)
        for name, n_planned in plan.rows.items():
            if (self._engine.transaction_version(TABLES_BY_NAME[name], self._spool_id) or 0) >= plan.batch:
                continue
            rows = tables.get(name)
            n_found = 0 if rows is None else rows.num_rows
            if n_found < n_planned:
                self._folder.note_loss(name, n_planned - n_found, f"segments of batch {plan.batch} are gone or damaged")
            if rows is not None and n_found and not self._append(name, rows):
                return False
        if any((self._engine.transaction_version(spec, self._spool_id) or 0) > plan.batch for spec in TABLES):
            return False
        self._folder.note_committed(plan.batch)
        return True

    def _append(self, name: str, rows: pa.Table) -> bool:
        """Commit rows of the batch to a table; False when another one has taken the spool over."""
        spec = TABLES_BY_NAME[name]
        done = self._engine.append(spec, rows, txns=[Txn(self._spool_id, self._plan.batch)])
        # A number that is taken by this very batch is a commit whose answer got lost.
        return done.applied or self._engine.transaction_version(spec, self._spool_id) == self._plan.batch

    def _settled(self, stretches: list[Slots], done: Plan) -> dict[str, str]:
        """Ids of experiments whose names are known under another id; kept for the runs that follow."""
        return {**done.experiments, **settled_experiments(self._engine, experiment_names(stretches))}


def settled_experiments(engine: Engine, asked: dict[str, str]) -> dict[str, str]:
    """Decide the ids of experiments about to be created, where the proposed ones won't do.

    Args:
        engine: The engine to ask.
        asked: Names by the id that their creation proposes.

    Returns:
        By proposed id: the id of the experiment that has the name already; or, where the proposed id belongs to an
        experiment that has another name by now, the next id derived from the name.
    """
    if not asked:
        return {}
    rows = engine.query("SELECT experiment_id, name FROM experiments").to_pylist()
    names = {row["experiment_id"]: row["name"] for row in rows}
    ids = {name: experiment_id for experiment_id, name in names.items()}
    settled = {}
    for proposed, name in asked.items():
        chosen, tries = ids.get(name, proposed), 0
        while names.get(chosen, name) != name:
            tries += 1
            chosen = experiment_id_of(name, tries)
        if chosen != proposed:
            settled[proposed] = chosen
    return settled
