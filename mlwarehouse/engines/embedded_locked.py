"""What a stranger's question reads: the rows of each table that are granted, as files and a filter, or as rows.

A run's rows are granted with its experiment, in all tables that name runs; whatever the views make of the rest they
make in the worker, from granted rows alone. Nothing a stranger wrote runs here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.allowed_sql import TOO_DEEP
from mlwarehouse.engines.arrays import one_array
from mlwarehouse.engines.base import Reading
from mlwarehouse.engines.embedded import EmbeddedEngine, moment_text
from mlwarehouse.engines.embedded_kept import PREFIX, Kept
from mlwarehouse.engines.locked_wire import Relation
from mlwarehouse.engines.render import Compiled, compiled
from mlwarehouse.errors import SqlError, within_depth
from mlwarehouse.tables import TABLES_BY_NAME
from mlwarehouse.tables.states import STATES

SCOPE: Mapping[str, str] = {
    "experiment_events": "experiment_id",
    "run_events": "run_id",
    "param_events": "run_id",
    "metrics": "run_id",
    "tag_events": "run_id",
    "artifact_events": "run_id",
    "input_events": "run_id",
    "logged_model_events": "run_id",
}
"""The column of a table that says whose each row is. Tables that aren't here are granted as a whole or not at all."""


@dataclass(frozen=True)
class Prepared:
    """A question as a worker gets it.

    Attributes:
        text: The SQL, over `relations`.
        relations: The tables that it reads.
    """

    text: str
    relations: tuple[Relation, ...]


def prepare(
    engine: EmbeddedEngine, reading: Reading, question: str, experiment_ids: tuple[str, ...] | None
) -> Prepared:
    """Find what a question reads.

    Args:
        engine: The engine of the warehouse's process.
        reading: The state to look at.
        question: A checked question, see `mlwarehouse.query.locked`.
        experiment_ids: The experiments whose rows are granted; None grants all rows.

    Raises:
        SqlError: The question names something that isn't there, or is nested too deeply.
        StorageError: A table can't be read.
    """
    unsettled = None if reading.kept is None else reading.kept.unsettled
    now = None if reading.now is None else moment_text(reading.now)
    with within_depth(SqlError, TOO_DEEP):
        ready = compiled(question, dialect="duckdb", prefix=PREFIX, kept=unsettled, now=now)
        if ready.tables <= TABLES_BY_NAME.keys():
            ready = compiled(question, dialect="duckdb", prefix=PREFIX, now=now)
    scopes = None if experiment_ids is None else _scopes(engine, reading, ready, experiment_ids)
    relations = []
    for name in sorted(ready.tables):
        if name in TABLES_BY_NAME:
            relations.append(_event_table(engine, reading, name, scopes))
        else:
            relations.append(_kept_table(engine, reading.kept, name, scopes))
    return Prepared(ready.text, tuple(relations))


Scopes = Mapping[str, pa.Array]
"""The granted values of ``experiment_id``, ``run_id`` and ``number``."""


def _scopes(engine: EmbeddedEngine, reading: Reading, ready: Compiled, experiment_ids: tuple[str, ...]) -> Scopes:
    ids = pa.array(experiment_ids, pa.string())
    if ready.tables <= {"experiment_events"} or not any(_is_scoped(name) for name in ready.tables):
        return {"experiment_id": ids}
    runs = engine.query(
        "SELECT number, run_id FROM numbered_runs WHERE experiment_id IN (SELECT unnest($ids)) ORDER BY number",
        reading=reading,
        parameters={"ids": list(experiment_ids)},
    )
    return {
        "experiment_id": ids,
        "run_id": one_array(runs.column("run_id")),
        "number": one_array(runs.column("number")),
    }


def _is_scoped(name: str) -> bool:
    return name in SCOPE or name not in TABLES_BY_NAME


def _event_table(engine: EmbeddedEngine, reading: Reading, name: str, scopes: Scopes | None) -> Relation:
    spec = TABLES_BY_NAME[name]
    _, files = engine.tables.at(spec, reading.versions.get(name))
    schema = spec.arrow_schema()
    rows = reading.overlay.get(name) if reading.as_of is None else None
    rows = schema.empty_table() if rows is None else rows.select(schema.names).cast(schema)
    until_us = None if reading.as_of is None else pa.scalar(reading.as_of, pa.timestamp("us", tz="UTC")).value
    key = SCOPE.get(name)
    if scopes is None or key is None:
        return Relation(f"{PREFIX}{name}", rows, tuple(files), until_us=until_us)
    granted = scopes[key]
    rows = rows.filter(pc.is_in(rows.column(key), granted))
    return Relation(f"{PREFIX}{name}", rows, tuple(files), key, granted, until_us)


def _kept_table(engine: EmbeddedEngine, kept: Kept, name: str, scopes: Scopes | None) -> Relation:
    """A table of kept folds; see `mlwarehouse.engines.render_states` for their names."""
    files: tuple[str, ...] = ()
    key = "number" if name in ("run_numbers", "tail_numbers") else "run_id"
    where = ""
    if name.startswith("state_"):
        files = tuple(kept.folds[next(s.view for s in STATES if name == f"state_{s.view}")])
        where = "WHERE FALSE"
    elif name == "run_numbers":
        files = tuple(kept.numbers)
        where = "WHERE number IN (SELECT number FROM mlw_new_numbers)"
    rows = engine.kept_rows(kept, f"SELECT * FROM {PREFIX}{name} {where}")
    if scopes is None:
        return Relation(f"{PREFIX}{name}", rows, files)
    granted = scopes["number"]
    return Relation(f"{PREFIX}{name}", rows.filter(pc.is_in(rows.column(key), granted)), files, key, granted)
