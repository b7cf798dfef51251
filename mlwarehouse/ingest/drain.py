"""Draining a spool into the tables: plan, commit, let go. Whoever holds the committer's lock may do it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from mlwarehouse.engines.base import Engine, Txn
from mlwarehouse.ingest.decode import experiment_names, rows_of
from mlwarehouse.ingest.identity import experiment_id_of
from mlwarehouse.ingest.plan import Plan, read_plan
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_format import HEADER_SLOTS
from mlwarehouse.ingest.spool_reader import SegmentReader, Slots
from mlwarehouse.tables import TABLES, TABLES_BY_NAME


@dataclass(frozen=True)
class Drained:
    """What one pass did.

    Attributes:
        n_rows: Rows committed.
        n_commits: Commits made, at most one a table.
        n_live: Segments whose writers are alive.
    """

    n_rows: int
    n_commits: int
    n_live: int


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
        self._plan = read_plan(folder)
        if self._plan.batch:
            self._commit(self._plan, self._read(self._plan))

    def step(self) -> Drained:
        """Commit all that is in the spool now as one batch.

        Returns:
            What was done.
        """
        done = self._plan
        paths = {p.name: p for p in self._folder.segments()}
        readers = {name: self._reader(name) for name in paths}
        # Asked before reading: what a writer adds after this answer makes the segment a live one.
        finished = {name for name, reader in readers.items() if reader.is_finished()}
        stretches: dict[str, Slots] = {}
        for name, reader in readers.items():
            stretch = reader.read(done.after.get(name, 0))
            if stretch is not None:
                stretches[name] = stretch
        # A header alone is nothing; a finished segment read to its end needn't be looked at again.
        fresh = {n: s for n, s in stretches.items() if s.end > done.after.get(n, HEADER_SLOTS)}
        spent = [n for n in paths if n in finished and n not in fresh]
        result = Drained(0, 0, len(paths) - len(finished))
        if not fresh and not spent:
            return result
        before = {n: done.after.get(n, HEADER_SLOTS) for n in paths if n not in spent}
        plan = Plan(
            batch=done.batch + 1,
            # Never behind the batch before, whatever the clock does.
            recorded_at=max(time.time_ns() // 1000, done.recorded_at + 1),
            before=before,
            after={**before, **{n: s.end for n, s in fresh.items()}},
            experiments=self._settled(list(fresh.values()), done),
        )
        plan.write(self._folder)
        self._plan = plan
        # The batch that held the rest of these is committed, and the new plan no longer names them.
        for name in spent:
            paths[name].unlink(missing_ok=True)
            self._readers.pop(name, None)
        n_rows, n_commits = self._commit(plan, list(fresh.values()))
        return replace(result, n_rows=n_rows, n_commits=n_commits)

    def _reader(self, name: str) -> SegmentReader:
        if name not in self._readers:
            self._readers[name] = SegmentReader(self._folder.segments_path / name)
        return self._readers[name]

    def _read(self, plan: Plan) -> list[Slots]:
        """The stretches of a plan that was written down: from each segment exactly what it names."""
        stretches = []
        for name, end in plan.after.items():
            start = plan.before.get(name, HEADER_SLOTS)
            if end > start:
                stretch = self._reader(name).read(start)
                if stretch is not None:
                    stretches.append(cut(stretch, end))
        return stretches

    def _commit(self, plan: Plan, stretches: list[Slots]) -> tuple[int, int]:
        n_rows = n_commits = 0
        tables = rows_of(stretches, recorded_at=plan.recorded_at, experiments=plan.experiments)
        for name, rows in tables.items():
            appended = self._engine.append(TABLES_BY_NAME[name], rows, txns=[Txn(self._spool_id, plan.batch)])
            n_rows += appended.n_rows
            n_commits += appended.applied
        self._folder.note_committed(plan.batch)
        return n_rows, n_commits

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


def cut(stretch: Slots, end: int) -> Slots:
    """A stretch without what lies at and behind a slot index."""
    if stretch.end <= end:
        return stretch
    last_seq = stretch.first_seq + end
    keep = stretch.seqs < last_seq
    return replace(
        stretch,
        end=end,
        points=stretch.points[keep],
        seqs=stretch.seqs[keep],
        records=[r for r in stretch.records if r.seq < last_seq],
    )
