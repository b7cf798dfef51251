"""Where a source's experiments go: an id is kept where it is free, and what it was is kept where it isn't."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.imports.base import LOGGED_MODEL, Oddity, SourceExperiment
from mlwarehouse.imports.known import WRITER
from mlwarehouse.ingest.identity import experiment_id_of

if TYPE_CHECKING:
    import pyarrow as pa

TAG = "mlwarehouse.imported:"
"""An imported experiment has a tag of this and the source's id; its value is the experiment's key there."""


@dataclass
class Placed:
    """Where experiments go.

    Attributes:
        ids: The warehouse's experiment id by the key in the source.
        events: Rows of `experiment_events`, without the envelope but for ``event_at``.
        added: How many experiments are new.
        logged_models: How many descriptions of logged models are new.
        oddities: Ids and names that had to change.
    """

    ids: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, object]] = field(default_factory=list)
    added: int = 0
    logged_models: int = 0
    oddities: list[Oddity] = field(default_factory=list)


def place(
    given: Sequence[SourceExperiment], source_id: str, engine: Engine | None, reading: Reading | None, now: int
) -> Placed:
    """Decide where experiments go.

    An experiment goes where it went before; else to the one that has its name; else it is made, under its own id if
    that is free. Of two of one name in the source the later one is given a name that says so.

    Args:
        given: The source's experiments.
        source_id: The source's name.
        engine: The engine to ask; None where there is no warehouse yet.
        reading: The state to look at.
        now: Microseconds since the epoch, for what has no time of its own.
    """
    state = _State(engine, reading, source_id)
    placed = Placed()
    taken: set[str] = set()
    for experiment in given:
        _place(experiment, source_id, state, placed, taken, now)
    return placed


class _State:
    """The warehouse's experiments."""

    def __init__(self, engine: Engine | None, reading: Reading | None, source_id: str) -> None:
        def asked(sql: str, **parameters: str) -> pa.Table | None:
            return None if engine is None else engine.query(sql, reading=reading, parameters=parameters)

        found = asked("SELECT experiment_id, name FROM experiments")
        self.names: dict[str, str] = {} if found is None else _mapped(found)
        self.ids = {name: experiment_id for experiment_id, name in self.names.items()}
        before = asked(_BEFORE, tag=TAG + source_id)
        self.before: dict[str, str] = {} if before is None else _mapped(before)
        states = asked(_IMPORTED_STATES)
        self.states = {} if states is None else {(r["experiment_id"], r["what"]): r["is"] for r in states.to_pylist()}


def _mapped(rows: pa.Table) -> dict[str, str]:
    return dict(zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True))


_BEFORE = f"""
    SELECT value, MIN(experiment_id) AS experiment_id
    FROM experiment_events
    WHERE kind = 'tag_set' AND key = $tag AND value IS NOT NULL AND STARTS_WITH(writer_id, '{WRITER}')
    GROUP BY value"""

_POSITION = "{'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq}"

_IMPORTED_STATES = f"""
    SELECT
        experiment_id,
        CASE WHEN kind = 'tag_set' THEN 'tag ' || key ELSE 'switch' END AS what,
        ARG_MAX(CASE WHEN kind = 'tag_set' THEN value ELSE kind END, {_POSITION}) AS is
    FROM experiment_events
    WHERE kind IN ('tag_set', 'deleted', 'restored') AND STARTS_WITH(writer_id, '{WRITER}')
    GROUP BY 1, 2"""
"""What imports have made of experiments: only where a source differs from that, it was changed there."""


def _place(given: SourceExperiment, source_id: str, state: _State, placed: Placed, taken: set[str], now: int) -> None:
    name, at = given.name, now if given.created_at is None else given.created_at
    experiment_id = state.before.get(given.key)
    if experiment_id is None:
        if name in taken:
            name = f"{given.name} ({'deleted ' if given.is_deleted else ''}{given.experiment_id or given.key})"
            detail = f"another experiment of this source has the name `{given.name}`; it is `{name}` here"
            placed.oddities.append(Oddity("experiment name twice", given.key, detail))
        experiment_id = state.ids.get(name)
    if experiment_id is None:
        experiment_id = _free_id(given.experiment_id, name, state.names)
        placed.events.append(_event(experiment_id, "created", at, name=name))
        placed.added += 1
        state.names[experiment_id] = name
        state.ids[name] = experiment_id
    taken.add(given.name)
    if given.experiment_id not in (None, experiment_id):
        detail = f"the id {given.experiment_id} is another one's here, or the name is there; its id is {experiment_id}"
        placed.oddities.append(Oddity("experiment id mapped", given.key, detail))
    placed.ids[given.key] = experiment_id
    tags: Mapping[str, str] = {**given.tags, TAG + source_id: given.key}
    for key, value in tags.items():
        if state.states.get((experiment_id, f"tag {key}")) != value:
            placed.events.append(_event(experiment_id, "tag_set", at, key=key, value=value))
            state.states[experiment_id, f"tag {key}"] = value
            placed.logged_models += key.startswith(LOGGED_MODEL)
    was_deleted = state.states.get((experiment_id, "switch")) == "deleted"
    if given.is_deleted != was_deleted:
        placed.events.append(_event(experiment_id, "deleted" if given.is_deleted else "restored", at))


def _free_id(wanted: str | None, name: str, names: Mapping[str, str]) -> str:
    """The wanted id, or the first of those derived from the name that is free."""
    chosen, tries = experiment_id_of(name) if wanted is None else wanted, 0
    while chosen in names:
        chosen, tries = experiment_id_of(name, tries), tries + 1
    return chosen


def _event(experiment_id: str, kind: str, at: int, **columns: str) -> dict[str, object]:
    return {"experiment_id": experiment_id, "kind": kind, "event_at": at, **columns}
