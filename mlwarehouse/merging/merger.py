"""A merge: table by table, what a run has before the run itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.artifacts import ArtifactStore
from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.imports.base import Oddity
from mlwarehouse.merging.experiments import Placed, events_here, place_experiments, with_ids
from mlwarehouse.merging.files import Files
from mlwarehouse.merging.other import Other
from mlwarehouse.merging.report import MergeReport
from mlwarehouse.merging.rows import CARRIED, Rows
from mlwarehouse.merging.runs import IMPORTED, bring_imported_points, new_and_clashing, of_others
from mlwarehouse.tables import (
    ARTIFACT_EVENTS,
    AUDIT,
    EXPERIMENT_EVENTS,
    INPUT_EVENTS,
    LABELS,
    LOGGED_MODEL_EVENTS,
    METRICS,
    PARAM_EVENTS,
    PREDICTION_INPUTS,
    PREDICTIONS,
    REGISTRY_EVENTS,
    RUN_EVENTS,
    TAG_EVENTS,
)

if TYPE_CHECKING:
    from mlwarehouse.registry import Registry

_OF_RUNS = (PARAM_EVENTS, TAG_EVENTS, INPUT_EVENTS)


def merge_from(
    other: Other,
    *,
    engine: Engine,
    registry: Registry,
    store: ArtifactStore,
    reading: Callable[[], Reading],
    writes: bool,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> MergeReport:
    """Bring what another warehouse has and this one lacks.

    Args:
        other: The other warehouse.
        engine: This one's engine.
        registry: Its registry.
        store: Its artifacts.
        reading: The state that decides where experiments go: also what is logged here and not committed yet.
        writes: False only says what would come.
        on_progress: Told each table that is done, and the how-manieth of how many it is.

    Returns:
        What came.

    Raises:
        StorageError: A commit failed; what was brought by then stays, and the same merge again goes on there.
        StoreRefusedError: The artifact store takes no file.
        ConcurrentChangeError: Models were changed all the time; likewise.
    """
    rows = Rows(engine, other, writes=writes)
    files = Files(other.store, store)
    n_new, clashing = new_and_clashing(engine, other)
    oddities = [
        Oddity("run already here", run_id, "another run of this id was logged here; it was left as it is")
        for run_id in sorted(clashing)
    ]
    if other.ask("SELECT COUNT(*) AS n FROM access_events").column("n")[0].as_py():
        detail = "who may do what there is that warehouse's own affair, and was left out"
        oddities.append(Oddity("access left out", other.uri, detail))
    added: dict[str, int] = {}

    def done(name: str, n: int) -> None:
        added[name] = n
        if on_progress is not None:
            on_progress(name, len(added), len(CARRIED))

    kept = partial(of_others, run_ids=clashing)
    placed, n = _experiments(rows, engine, other, reading)
    done(EXPERIMENT_EVENTS.name, n)
    points = rows.bring(METRICS, where=f"NOT {IMPORTED}", change=kept)
    done(METRICS.name, points + bring_imported_points(rows, engine, other, clashing))
    for spec in _OF_RUNS:
        done(spec.name, rows.bring(spec, change=kept))
    done(ARTIFACT_EVENTS.name, rows.bring(ARTIFACT_EVENTS, change=kept, stored=files.stored))
    done(LOGGED_MODEL_EVENTS.name, rows.bring(LOGGED_MODEL_EVENTS, change=lambda t: with_ids(kept(t), placed)))
    done(RUN_EVENTS.name, rows.bring(RUN_EVENTS, change=lambda t: with_ids(kept(t), placed)))
    models = registry.merge_models(
        partial(other.engine.query, reading=other.reading), warehouse=other.uri, writes=writes
    )
    done(REGISTRY_EVENTS.name, models.rows)
    renamed = partial(_with_names, names=models.names)
    for spec in (PREDICTION_INPUTS, PREDICTIONS):
        done(spec.name, rows.bring(spec, change=renamed))
    for spec in (LABELS, AUDIT):
        done(spec.name, rows.bring(spec))
    return MergeReport(
        place=other.uri,
        is_dry_run=not writes,
        experiments=placed.n_new,
        runs=n_new,
        models=models.models,
        files=files.n_copied,
        rows=added,
        oddities=[*placed.oddities, *oddities, *(Oddity(*each) for each in models.oddities), *files.oddities],
    )


def _experiments(rows: Rows, engine: Engine, other: Other, reading: Callable[[], Reading]) -> tuple[Placed, int]:
    """Bring experiments; returns where they went, and how many rows came."""
    placed, _ = place_experiments(engine, other, reading())
    n = 0

    def marks(_: Reading | None) -> pa.Table:
        nonlocal placed
        # Names that were given on this machine and aren't committed yet count too.
        placed, found = place_experiments(engine, other, reading())
        return found

    # First what decides where they go: a merge that was killed decides the same again.
    n = rows.append(EXPERIMENT_EVENTS, marks)
    return placed, n + rows.bring(EXPERIMENT_EVENTS, change=lambda t: events_here(t, placed))


def _with_names(rows: pa.Table, names: dict[str, str]) -> pa.Table:
    """Rows with the models' names here."""
    if not names:
        return rows
    column = rows.column_names.index("model_name")
    given = rows.column("model_name")
    new = pa.array([names.get(name, name) for name in pc.unique(given).to_pylist()], pa.string())
    return rows.set_column(column, rows.schema.field("model_name"), new.take(pc.index_in(given, pc.unique(given))))
