"""Where another warehouse's experiments go: to the same one, to the one of their name, or they are new."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.imports.base import Oddity
from mlwarehouse.ingest.identity import experiment_id_of
from mlwarehouse.merging.other import Other
from mlwarehouse.tables import EXPERIMENT_EVENTS

TAG = "mlwarehouse.merged:"
"""An experiment to which one of another id came has a tag of this, the other warehouse's id, a colon and the id there;
its value says whether it was made for it (`NEW`), or was here before (`JOINED`)."""

WRITER = "merge:"
"""What the `writer_id` of those tags begins with."""

NEW, JOINED = "new", "joined"


@dataclass(frozen=True)
class Found:
    """An experiment of a warehouse.

    Attributes:
        name: Its name now.
        first_names: The names that it was created under.
    """

    name: str
    first_names: Collection[str]


@dataclass
class Placed:
    """Where experiments go.

    Attributes:
        ids: The id here of those that have another one there.
        joined: Those, by their id there, that go to one that was here before, of the same name.
        n_new: How many are new here.
        oddities: Ids and names that clash.
    """

    ids: dict[str, str] = field(default_factory=dict)
    joined: set[str] = field(default_factory=set)
    n_new: int = 0
    oddities: list[Oddity] = field(default_factory=list)


def found_experiments(answers: Sequence[pa.Table]) -> dict[str, Found]:
    """The experiments of a warehouse by id, from the answers to `NAMES` and `FIRST_NAMES`."""
    first: dict[str, set[str]] = {}
    for row in answers[1].to_pylist():
        first.setdefault(row["experiment_id"], set()).add(row["name"])
    return {r["experiment_id"]: Found(r["name"], first.get(r["experiment_id"], set())) for r in answers[0].to_pylist()}


NAMES = "SELECT experiment_id, name FROM experiments ORDER BY experiment_id"
FIRST_NAMES = "SELECT DISTINCT experiment_id, name FROM experiment_events WHERE kind = 'created' AND name IS NOT NULL"
MERGED = "SELECT key, value, experiment_id FROM experiment_tags WHERE STARTS_WITH(key, $prefix)"


@dataclass(frozen=True)
class Before:
    """Where an experiment went in an earlier merge.

    Attributes:
        experiment_id: Its id here.
        has_joined: Whether that one was here before.
    """

    experiment_id: str
    has_joined: bool


def place(theirs: Mapping[str, Found], ours: Mapping[str, Found], before: Mapping[str, Before]) -> Placed:
    """Decide where experiments go.

    An experiment goes where it went before. One of the same id that began under the same name is the same one, also
    where one of them was renamed since. Else it goes to the one that has its name; else it is new, under its own id if
    that is free.

    Args:
        theirs: The other warehouse's experiments, by id.
        ours: Those here.
        before: By their ids there, where they went in earlier merges.
    """
    placed = Placed()
    names = {found.name: experiment_id for experiment_id, found in ours.items()}
    taken = {*ours, *theirs}
    for experiment_id, found in theirs.items():
        there = ours.get(experiment_id)
        if experiment_id in before:
            placed.ids[experiment_id] = before[experiment_id].experiment_id
            if before[experiment_id].has_joined:
                placed.joined.add(experiment_id)
            continue
        if there is not None and not set(there.first_names).isdisjoint(found.first_names):
            if there.name != found.name:
                detail = f"it is called `{there.name}` here and `{found.name}` there; the later of the names counts"
                placed.oddities.append(Oddity("experiment renamed", experiment_id, detail))
            continue
        if found.name in names:
            placed.ids[experiment_id] = names[found.name]
            placed.joined.add(experiment_id)
            detail = f"`{found.name}` is here, with the id {names[found.name]}; its runs come to that one"
            placed.oddities.append(Oddity("experiment joined", experiment_id, detail))
            continue
        placed.n_new += 1
        if there is not None:
            new_id, tries = experiment_id_of(found.name), 0
            while new_id in taken:
                tries += 1
                new_id = experiment_id_of(found.name, tries)
            taken.add(new_id)
            placed.ids[experiment_id] = new_id
            detail = f"its id is that of `{there.name}` here; `{found.name}` gets the id {new_id}"
            placed.oddities.append(Oddity("experiment id taken", experiment_id, detail))
    return placed


def place_experiments(here: Engine, other: Other, reading: Reading) -> tuple[Placed, pa.Table]:
    """Decide where a warehouse's experiments go; see `place`.

    Returns:
        That, and the rows of `experiment_events` that will say so: columns of the table.
    """
    prefix = f"{TAG}{other.warehouse_id}:"
    tags = here.query(MERGED, reading=reading, parameters={"prefix": prefix}).to_pylist()
    before = {t["key"].removeprefix(prefix): Before(t["experiment_id"], t["value"] == JOINED) for t in tags}
    placed = place(
        found_experiments([other.ask(NAMES), other.ask(FIRST_NAMES)]),
        found_experiments([here.query(sql, reading=reading) for sql in (NAMES, FIRST_NAMES)]),
        before,
    )
    now = dt.datetime.now(dt.UTC)
    marks = [
        {
            "experiment_id": experiment_id,
            "kind": "tag_set",
            "key": prefix + there,
            "value": JOINED if there in placed.joined else NEW,
            "event_at": now,
            "recorded_at": now,
            "writer_id": f"{WRITER}{other.warehouse_id}:{there}",
            "writer_seq": 0,
        }
        for there, experiment_id in placed.ids.items()
        if there not in before
    ]
    return placed, pa.Table.from_pylist(marks, schema=EXPERIMENT_EVENTS.arrow_schema())


def with_ids(rows: pa.Table, placed: Placed) -> pa.Table:
    """Rows with the experiments' ids here."""
    if not placed.ids:
        return rows
    ids = [placed.ids.get(i, i) for i in rows.column("experiment_id").to_pylist()]
    place_ = rows.column_names.index("experiment_id")
    return rows.set_column(place_, rows.schema.field("experiment_id"), pa.array(ids, pa.string()))


def events_here(rows: pa.Table, placed: Placed) -> pa.Table:
    """Rows of `experiment_events` as they come: of an experiment that joins another one, only its tags."""
    has_joined = pc.is_in(rows.column("experiment_id"), pa.array(sorted(placed.joined), pa.string()))
    is_tag = pc.equal(rows.column("kind"), "tag_set")
    return with_ids(rows.filter(pc.or_(pc.invert(has_joined), is_tag)), placed)
