"""Kept folds answer as the fold over all events does, at every moment.

The fold over all events is the one in plain Python, of `tests.views.reference`. Events come from several writers, late
ones among them; they are committed at once, later or in part; folds are refreshed, or a refresh dies half-way; files
are merged; folds are lost.
"""

from __future__ import annotations

import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mlwarehouse import Warehouse
from mlwarehouse.engines import embedded_fold_parts, embedded_states
from mlwarehouse.engines.base import Reading
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.embedded_maintain import maintain
from mlwarehouse.engines.embedded_states import derived_folder, drop_states, refresh
from mlwarehouse.engines.spark import SparkEngine
from mlwarehouse.tables import TABLES_BY_NAME
from mlwarehouse.tables.states import NUMBERED, STATES, STATES_BY_VIEW
from tests.views.reference import FOLDS, Rows
from tests.views.rows import comparable, tables

Given = dict[str, Rows]
"""Events by table."""

WRITERS = ("a", "b", "c")
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
        "parent_run_id": st.sampled_from([None, "p"]),
        "heartbeat_due_at": st.sampled_from([None, "2020-01-01T00:00:00Z", "2126-01-01T00:00:00Z"]),
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


def batch() -> st.SearchStrategy[tuple[str, Rows]]:
    """Some events of one table, late ones among them: their recorded times are in no order."""

    def of(table: str) -> st.SearchStrategy[tuple[str, Rows]]:
        row = st.fixed_dictionaries(
            {
                "run_id": RUNS,
                "event_at": TIMES,
                "recorded_at": TIMES,
                "writer_id": st.sampled_from(WRITERS),
                **EVENTS[table],
            }
        )
        return st.tuples(st.just(table), st.lists(row, min_size=1, max_size=5))

    return st.sampled_from(sorted(EVENTS)).flatmap(of)


KEPT = {False: 0, True: 0}
"""How many readings had kept folds: a machine that never keeps any shows nothing."""

DEATHS: Counter[str] = Counter()
"""Before which operation refreshes died."""

ENDS: list[tuple[Path, Given, Given]] = []
"""The tables of machines that have ended, with what waited then and all their events."""

OPERATIONS = (
    (embedded_fold_parts, "fold_part"),
    (embedded_fold_parts, "sync_path"),
    (embedded_states, "write_part"),
    (embedded_states, "_create"),
    (embedded_states, "_commit"),
    (embedded_states, "sync_log"),
    (embedded_states, "mark"),
    (embedded_states, "drop_states"),
)
"""What a refresh is made of: it may die before and after each of them."""


class Killed(BaseException):
    """Ends a refresh as a kill would: nothing in the product catches it."""


@contextmanager
def dying_after(allowed: int) -> Iterator[None]:
    """Let so many operations of a refresh happen, and none after them."""
    left = [allowed]

    def dying(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any) -> Any:
            if not left[0]:
                DEATHS[name] += 1
                raise Killed
            left[0] -= 1
            return real(*arguments)

        return operation

    with pytest.MonkeyPatch.context() as patch:
        for module, name in OPERATIONS:
            patch.setattr(module, name, dying(name, getattr(module, name)))
        yield


class Keeping(RuleBasedStateMachine):
    """Events come in, are committed or wait; folds are refreshed and lost; files are merged."""

    template: Path
    places: pytest.TempPathFactory

    @initialize()
    def start(self) -> None:
        place = self.places.mktemp("kept")
        shutil.copytree(self.template, place / "tables")
        self.engine = EmbeddedEngine(place / "tables")
        self.waiting: Given = {}
        self.events: Given = {table: [] for table in EVENTS}
        self.n_written = Counter[str]()
        for table, columns in EVENTS.items():
            row = {"run_id": "r1", "event_at": 0, "recorded_at": 0, "writer_id": "a"} | dict.fromkeys(columns)
            given = {
                "kind": "started",
                "attempt": 0,
                "key": "k1",
                "value": 1.0 if table == "metrics" else "x",
                "step": 0,
            }
            self.commit((table, [row | {c: v for c, v in given.items() if c in columns}]))
        self.take_up()

    def numbered(self, table: str, rows: Rows) -> Rows:
        """The events with their writers' numbers."""
        result = []
        for row in rows:
            self.n_written[row["writer_id"]] += 1
            result.append({**row, "writer_seq": self.n_written[row["writer_id"]]})
        self.events[table] += result
        return result

    @rule(events=batch())
    def commit(self, events: tuple[str, Rows]) -> None:
        table, rows = events
        self.engine.append(TABLES_BY_NAME[table], tables({table: self.numbered(table, rows)})[table])

    @rule(events=batch())
    def log(self, events: tuple[str, Rows]) -> None:
        table, rows = events
        self.waiting.setdefault(table, []).extend(self.numbered(table, rows))

    @rule()
    def commit_what_waits(self) -> None:
        for table, rows in tables(self.waiting).items():
            self.engine.append(TABLES_BY_NAME[table], rows)
        self.waiting = {}

    @rule(table=st.sampled_from(sorted(EVENTS)), count=st.integers(1, 3))
    def commit_some_of_what_waits(self, table: str, count: int) -> None:
        """Later events before earlier ones, and one table before the others."""
        waiting = self.waiting.pop(table, [])
        if waiting[count:]:
            self.waiting[table] = waiting[:-count]
        if waiting:
            self.engine.append(TABLES_BY_NAME[table], tables({table: waiting[-count:]})[table])

    @rule()
    def read_from_another_process(self) -> None:
        folder = self.engine.tables.folder
        self.engine.close()
        self.engine = EmbeddedEngine(folder)

    @rule(events=batch(), allowed=st.integers(0, 14))
    def die_while_taking_up(self, events: tuple[str, Rows], allowed: int) -> None:
        self.commit(events)
        with dying_after(allowed), suppress(Killed):
            refresh(self.engine.tables, least_rows=1)

    @rule()
    def take_up(self) -> None:
        refresh(self.engine.tables, least_rows=1)

    @rule(events=batch())
    def commit_and_take_up(self, events: tuple[str, Rows]) -> None:
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
        expected = {name: fold(self.events[STATES_BY_VIEW[name].source]) for name, fold in FOLDS.items()}
        for name, rows in expected.items():
            for found in (self.engine.query(f"SELECT * FROM {name}", reading=r).to_pylist() for r in (reading, kept)):
                assert_rows(found, rows)
        KEPT[kept.kept is not None] += 1
        if kept.kept is not None:
            numbered = self.engine.query(
                "SELECT r.run_id, p.key, p.value FROM numbered_runs AS r JOIN numbered_params AS p USING (number)",
                reading=kept,
            )
            started = {row["run_id"] for row in expected["runs"]}
            rows = [row for row in expected["params"] if row["run_id"] in started]
            assert_rows(numbered.to_pylist(), [{k: row[k] for k in ("run_id", "key", "value")} for row in rows])

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            ENDS.append((self.engine.tables.folder, self.waiting, self.events))
            self.engine.close()


def assert_rows(found: Rows, expected: Rows) -> None:
    columns = sorted(expected[0]) if expected else []
    assert comparable(found, columns) == comparable(expected, columns)


@pytest.fixture(scope="module", autouse=True)
def few_runs_a_file() -> Iterator[None]:
    """Several files a fold, and numbers in several, with so few runs."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (embedded_states, embedded_fold_parts):
            patch.setattr(module, "PART_RUNS", 2)
        patch.setattr(embedded_states, "MOST_NUMBER_FILES", 2)
        yield


@pytest.fixture(scope="module")
def explore(empty_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], None]:
    """Runs machines, each so many steps."""
    Keeping.template = empty_tables
    Keeping.places = tmp_path_factory

    def run(count: int, steps: int) -> None:
        run_state_machine_as_test(
            Keeping, settings=settings(max_examples=count, stateful_step_count=steps, deadline=None)
        )

    return run


def test_kept_is_folded_at_every_moment(explore: Callable[[int, int], None]) -> None:
    explore(*((200, 40) if os.environ.get("MLWAREHOUSE_SOAK") else (8, 16)))
    assert KEPT[True] > KEPT[False]
    assert DEATHS


@pytest.mark.spark
def test_spark_folds_what_was_left(explore: Callable[[int, int], None], spark: Any) -> None:
    """Spark, over the events themselves, of the machine that has come furthest, in the two folds with most rules."""
    if not ENDS:
        explore(1, 8)
    folder, waiting, events = max(ENDS, key=lambda end: sum(map(len, end[2].values())))
    engine = SparkEngine(spark, folder)
    for name in ("runs", "metric_summaries"):
        found = engine.query(f"SELECT * FROM {name}", reading=Reading(overlay=tables(waiting))).to_pylist()
        assert_rows(found, FOLDS[name](events[STATES_BY_VIEW[name].source]))


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


def test_a_question_leaves_nothing_in_memory(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    warehouse.start_run().end()
    warehouse.flush()
    warehouse.maintain()
    with warehouse.start_run() as run:
        for step in range(2):
            run.log_metric("loss", 0.5, step)
            assert len(warehouse.metric_history([run.run_id])) == step + 1
            # One run is as it was kept and the other isn't; that none has a param changes nothing.
            assert len(warehouse.search_runs(search_all_experiments=True)) == 2
    database = warehouse.engine()._connection_of_all()
    # Of the readings, the last one's tables are there: the next question may be about the same.
    kept = "SELECT count(DISTINCT schema_name) FROM duckdb_tables() WHERE schema_name <> 'main'"
    assert database.execute(kept).fetchall() == [(1,)]
    cached = "SELECT sum(memory_usage_bytes) FROM duckdb_memory() WHERE tag = 'EXTERNAL_FILE_CACHE'"
    assert database.execute(cached).fetchall() == [(0,)]
    warehouse.close()
