"""An import: a source's batches, one after the other, what is new of each appended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.artifacts import ArtifactStore
from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.imports.base import LOGGED_MODEL, Batch, Oddity, Source
from mlwarehouse.imports.experiments import place
from mlwarehouse.imports.files import store_files
from mlwarehouse.imports.known import Known
from mlwarehouse.imports.report import COUNTED, ImportReport
from mlwarehouse.imports.runs import run_events
from mlwarehouse.imports.writing import Writer, numbers_of
from mlwarehouse.registry.importing import import_models
from mlwarehouse.tables import (
    ARTIFACT_EVENTS,
    EXPERIMENT_EVENTS,
    INPUT_EVENTS,
    METRICS,
    PARAM_EVENTS,
    RUN_EVENTS,
    TAG_EVENTS,
)

if TYPE_CHECKING:
    from mlwarehouse.registry import Registry


@dataclass(frozen=True)
class Progress:
    """How far an import is.

    Attributes:
        done: How much of the source was looked at.
        total: How much there is.
        unit: What is counted.
        added: What was added so far, as in `ImportReport.added`.
    """

    done: int
    total: int
    unit: str
    added: Mapping[str, int]


@dataclass(frozen=True)
class Target:
    """Where an import goes.

    Attributes:
        engine: Appends and answers; None on a dry run where there is no warehouse.
        registry: The model registry; likewise.
        reading: The state that decides where experiments go: also what is logged and not committed yet.
        store: Where artifacts go; None where they don't.
        copies: Whether artifacts are copied.
        writes: False on a dry run.
    """

    engine: Engine | None
    registry: Registry | None
    reading: Callable[[], Reading]
    store: ArtifactStore | None
    copies: bool
    writes: bool


def import_from(
    source: Source, target: Target, *, on_progress: Callable[[Progress], None] | None = None
) -> ImportReport:
    """Import a source.

    Args:
        source: Opened for this.
        target: Where it goes.
        on_progress: Told after each batch.

    Returns:
        What was found and added.

    Raises:
        StorageError: A commit failed; what was appended by then stays, and the same import again goes on there.
        StoreRefusedError: The artifact store takes no file.
    """
    return _Import(source, target, on_progress).run()


class _Import:
    def __init__(self, source: Source, target: Target, on_progress: Callable[[Progress], None] | None) -> None:
        self._source, self._target, self._source_id = source, target, source.source_id
        self._on_progress = on_progress
        self._writer = Writer(target.engine, source.source_id, writes=target.writes)
        self._found = dict.fromkeys(COUNTED, 0)
        self._added = dict.fromkeys(COUNTED, 0)
        self._oddities: list[Oddity] = []
        self._ids: Mapping[str, str] = {}
        self._passed: Counter[tuple[str, str]] = Counter()

    def run(self) -> ImportReport:
        self._experiments()
        done = 0
        for batch in self._source.batches():
            self._batch(batch)
            done += batch.n_done
            if self._on_progress is not None:
                progress = Progress(done, self._source.total, self._source.unit, dict(self._added))
                self._on_progress(progress)
        self._models()
        return ImportReport(
            self._source.kind,
            self._source.place,
            self._source_id,
            not self._target.writes,
            self._found,
            self._added,
            [*self._source.oddities, *self._oddities],
        )

    def _experiments(self) -> None:
        given = self._source.experiments()
        engine = self._target.engine
        now = time.time_ns() // 1000
        last = None

        def missing(_: Reading | None) -> pa.Table:
            nonlocal last
            # Names that were given on this machine and aren't committed yet count too.
            state = None if engine is None else self._target.reading()
            last = place(given, self._source_id, engine, state, now)
            names = ("experiment_id", "kind", "name", "key", "value")
            return pa.table(
                {name: pa.array([e.get(name) for e in last.events], pa.string()) for name in names}
                | {"event_at": pa.array([e["event_at"] for e in last.events], pa.int64())}
            )

        self._writer.append(EXPERIMENT_EVENTS, missing)
        assert last is not None
        self._ids = last.ids
        self._found["experiments"] = len(given)
        self._added["experiments"] = last.added
        self._found["logged_models"] = sum(key.startswith(LOGGED_MODEL) for e in given for key in e.tags)
        self._added["logged_models"] = last.logged_models
        self._oddities += last.oddities

    def _batch(self, batch: Batch) -> None:
        known = Known(self._target.engine, {*batch.runs.column("run_id").to_pylist(), *batch.continued})
        foreign = known.foreign_runs()
        for run_id in sorted(foreign):
            detail = "a run of this id was logged here and not imported; it was left as it is"
            self._oddities.append(Oddity("run already here", run_id, detail))
        runs, params, points, tags, inputs, files = (
            _without_runs(table, foreign)
            for table in (batch.runs, batch.params, batch.points, batch.tags, batch.inputs, batch.files)
        )
        new_points = self._writer.append(
            METRICS,
            lambda r: (
                known.unseen_points(points, r) if batch.are_distinct else known.new_points(points, r, self._passed)
            ),
        )
        self._count("points", batch.points, new_points)
        self._pass(batch)
        started = runs.select(["run_id", "started_at"])
        for name, spec, given, table, new in (
            ("params", PARAM_EVENTS, batch.params, params, known.new_params),
            ("tags", TAG_EVENTS, batch.tags, tags, known.new_tags),
            ("inputs", INPUT_EVENTS, batch.inputs, inputs, known.new_inputs),
        ):

            def rows(reading: Reading | None, table: pa.Table = table, new: object = new, name: str = name) -> pa.Table:
                assert callable(new)
                found = _with_times(new(table, reading), started)
                if name != "params":
                    return found
                return found.append_column("value_number", numbers_of(found.column("value")))

            self._count(name, given, self._writer.append(spec, rows))
        self._files(batch, files, known)
        now = time.time_ns() // 1000
        touched: list[int] = []

        def events(reading: Reading | None) -> pa.Table:
            found = run_events(runs, known.runs(reading), self._ids, now)
            touched[:] = [pc.count_distinct(found.column("run_id")).as_py()]
            return found

        self._writer.append(RUN_EVENTS, events)
        self._count("runs", batch.runs, touched[0])

    def _pass(self, batch: Batch) -> None:
        """Remember how many points went by of series that go on."""
        if not batch.continued:
            self._passed.clear()
            return
        of_runs = batch.points.filter(pc.is_in(batch.points.column("run_id"), pa.array(sorted(batch.continued))))
        counts = of_runs.group_by(["run_id", "key"]).aggregate([([], "count_all")])
        self._passed = Counter({s: n for s, n in self._passed.items() if s[0] in batch.continued})
        for row in counts.to_pylist():
            self._passed[row["run_id"], row["key"]] += row["count_all"]

    def _files(self, batch: Batch, files: pa.Table, known: Known) -> None:
        store, oddities = self._target.store, self._oddities

        def rows(reading: Reading | None) -> pa.Table:
            new = known.new_files(files, reading)
            return store_files(new, store, oddities, batch.fetch) if store is not None and self._target.writes else new

        if not self._target.copies:
            self._found["artifacts"] += batch.files.num_rows
            return
        self._count("artifacts", batch.files, self._writer.append(ARTIFACT_EVENTS, rows))

    def _models(self) -> None:
        models = self._source.models()
        self._found["models"] = len(models)
        self._found["model_versions"] = sum(len(m.versions) for m in models)
        self._found["model_aliases"] = sum(len(m.aliases) for m in models)
        registry = self._target.registry
        brought = (
            import_models(None, models, source_id=self._source_id, writes=False)
            if registry is None
            else registry.import_models(models, source_id=self._source_id, writes=self._target.writes)
        )
        for name in ("models", "model_versions", "model_aliases"):
            self._added[name] = getattr(brought, name)
        self._oddities += [Oddity(*each) for each in brought.oddities]

    def _count(self, name: str, given: pa.Table, added: int) -> None:
        self._found[name] += given.num_rows
        self._added[name] += added


def _without_runs(table: pa.Table, run_ids: set[str]) -> pa.Table:
    if not run_ids:
        return table
    return table.filter(pc.invert(pc.is_in(table.column("run_id"), pa.array(sorted(run_ids), pa.string()))))


def _with_times(table: pa.Table, started: pa.Table) -> pa.Table:
    """Rows with the start of their run as their time: sources don't say when a param or tag was set."""
    at = started.column("started_at").take(pc.index_in(table.column("run_id"), started.column("run_id")))
    return table.append_column("event_at", at)
