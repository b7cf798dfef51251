"""Kept folds answer as the fold over all events does, at every moment: late events, refreshes, compaction, loss."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mlwarehouse.engines import embedded_states
from mlwarehouse.engines.base import Reading
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.embedded_maintain import maintain
from mlwarehouse.engines.embedded_states import derived_folder, drop_states, refresh
from mlwarehouse.tables import TABLES_BY_NAME
from mlwarehouse.tables.states import NUMBERED, STATES
from mlwarehouse.tables.views import view
from tests.views.rows import comparable, tables

RUNS = st.sampled_from(["r1", "r2", "r3", "r4", "r5", "r6"])
TIMES = st.integers(0, 6)
VALUES = st.sampled_from([0.0, 1.0, -2.5, 8.0, math.nan, math.inf, -math.inf])
EVENTS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "run_events": {
        "kind": st.sampled_from(["started", "renamed", "ended", "resumed", "deleted", "restored", "heartbeat"]),
        "experiment_id": st.sampled_from(["1", "2"]),
        "name": st.sampled_from([None, "a", "b"]),
        "status": st.sampled_from([None, "RUNNING", "FINISHED"]),
        "attempt": st.integers(0, 2),
        "actor": st.sampled_from(["x", "y"]),
    },
    "param_events": {
        "key": st.sampled_from(["k1", "k2"]),
        "value": st.sampled_from(["x", "1"]),
        "value_number": st.sampled_from([None, 1.0]),
    },
    "tag_events": {"key": st.sampled_from(["k1", "k2"]), "value": st.sampled_from([None, "", "x"])},
    "metrics": {
        "key": st.sampled_from(["k1", "k2"]),
        "context": st.sampled_from([None, '{"a": 1}']),
        "step": st.integers(0, 3),
        "value": VALUES,
    },
}


def batch() -> st.SearchStrategy[tuple[str, list[dict[str, Any]]]]:
    """Some events of one table, late ones among them: their recorded times are in no order."""

    def of(table: str) -> st.SearchStrategy[tuple[str, list[dict[str, Any]]]]:
        row = st.fixed_dictionaries({"run_id": RUNS, "event_at": TIMES, "recorded_at": TIMES, **EVENTS[table]})
        return st.tuples(st.just(table), st.lists(row, min_size=1, max_size=5))

    return st.sampled_from(sorted(EVENTS)).flatmap(of)


KEPT = {False: 0, True: 0}
"""How many readings had kept folds: a machine that never keeps any shows nothing."""


class Keeping(RuleBasedStateMachine):
    """Events come in, are committed or wait; folds are refreshed and lost; files are merged."""

    template: Path
    places: pytest.TempPathFactory

    @initialize()
    def start(self) -> None:
        place = self.places.mktemp("kept")
        shutil.copytree(self.template, place / "tables")
        self.engine = EmbeddedEngine(place / "tables")
        self.waiting: dict[str, list[dict[str, Any]]] = {}
        self.n_events = 0
        for table, columns in EVENTS.items():
            row = {"run_id": "r1", "event_at": 0, "recorded_at": 0} | dict.fromkeys(columns)
            given = {
                "kind": "started",
                "attempt": 0,
                "key": "k1",
                "value": 1.0 if table == "metrics" else "x",
                "step": 0,
            }
            self.commit((table, [row | {c: v for c, v in given.items() if c in columns}]))
        self.take_up()

    def numbered(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.n_events += len(rows)
        first = self.n_events - len(rows)
        return [{**row, "writer_id": "w", "writer_seq": first + i} for i, row in enumerate(rows)]

    @rule(events=batch())
    def commit(self, events: tuple[str, list[dict[str, Any]]]) -> None:
        table, rows = events
        self.engine.append(TABLES_BY_NAME[table], tables({table: self.numbered(rows)})[table])

    @rule(events=batch())
    def log(self, events: tuple[str, list[dict[str, Any]]]) -> None:
        table, rows = events
        self.waiting.setdefault(table, []).extend(self.numbered(rows))

    @rule()
    def commit_what_waits(self) -> None:
        for table, rows in tables(self.waiting).items():
            self.engine.append(TABLES_BY_NAME[table], rows)
        self.waiting = {}

    @rule()
    def take_up(self) -> None:
        refresh(self.engine.tables, least_rows=1)

    @rule(events=batch())
    def commit_and_take_up(self, events: tuple[str, list[dict[str, Any]]]) -> None:
        self.commit(events)
        self.take_up()

    @rule()
    def merge_files(self) -> None:
        for table in EVENTS:
            maintain(self.engine.tables, TABLES_BY_NAME[table])

    @rule(what=st.sampled_from(["everything", "run_numbers", *(s.view for s in STATES)]))
    def lose(self, what: str) -> None:
        if what == "everything":
            drop_states(self.engine.tables)
        else:
            shutil.rmtree(derived_folder(self.engine.tables) / what, ignore_errors=True)

    @invariant()
    def both_answer_alike(self) -> None:
        if not hasattr(self, "engine"):
            return
        reading = Reading(overlay=tables(self.waiting))
        kept = self.engine.with_kept(reading)
        for spec in STATES:
            question = f"SELECT * FROM {spec.view}"
            expected = self.engine.query(question, reading=reading).to_pylist()
            found = self.engine.query(question, reading=kept).to_pylist()
            columns = sorted(view(spec.view).columns)
            assert comparable(found, columns) == comparable(expected, columns)
        KEPT[kept.kept is not None] += 1
        if kept.kept is not None:
            numbered = self.engine.query(
                "SELECT r.run_id, p.key, p.value FROM numbered_runs AS r JOIN numbered_params AS p USING (number)",
                reading=kept,
            )
            plain = self.engine.query(
                "SELECT run_id, p.key, p.value FROM runs JOIN params AS p USING (run_id)", reading=reading
            )
            columns = ["run_id", "key", "value"]
            assert comparable(numbered.to_pylist(), columns) == comparable(plain.to_pylist(), columns)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()


def test_kept_is_folded_at_every_moment(
    empty_tables: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several files a fold, and numbers in several, with so few runs.
    monkeypatch.setattr(embedded_states, "PART_RUNS", 2)
    monkeypatch.setattr(embedded_states, "MOST_NUMBER_FILES", 2)
    Keeping.template = empty_tables
    Keeping.places = tmp_path_factory
    run_state_machine_as_test(Keeping, settings=settings(max_examples=8, stateful_step_count=15, deadline=None))
    assert KEPT[True] > KEPT[False]


def test_numbers_in_the_making_are_not_read(empty_tables: Path, tmp_path: Path) -> None:
    shutil.copytree(empty_tables, tmp_path / "tables")
    engine = EmbeddedEngine(tmp_path / "tables")
    # Between the table's making and its first file a refresh is seen, or killed, like this.
    schema = pa.schema([("id", pa.string()), ("number", pa.int64())])
    DeltaTable.create(derived_folder(engine.tables) / embedded_states.NUMBERS, schema=schema)
    kept = engine.with_kept(Reading())
    assert kept.kept is None
    assert engine.query("SELECT * FROM runs", reading=kept).num_rows == 0
    engine.close()


def test_each_kept_view_can_be_taken_up_again() -> None:
    """What is merged has the columns of what is lifted, in their order: so it can be merged with more."""
    from mlwarehouse.engines.parse import view_tree

    for spec in STATES:
        ctes = {cte.alias: cte.this.named_selects for cte in view_tree(spec.view).args["with_"].expressions}
        assert ctes["lifted"] == ctes["merged"]
        assert set(spec.keys) <= set(ctes["merged"])
        assert NUMBERED[f"numbered_{spec.view}"] == spec.view
