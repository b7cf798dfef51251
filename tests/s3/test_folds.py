"""Folds over a warehouse in an object store are kept on each machine's own disk, and answer as events do."""

from __future__ import annotations

import time

import pandas as pd
import pytest

from mlwarehouse import Warehouse
from mlwarehouse.disk import try_lock
from mlwarehouse.engines.embedded_kept import fold_health
from mlwarehouse.engines.embedded_page_files import PAGES
from mlwarehouse.engines.embedded_states import derived_folder, drop_states, refresh
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.ingest.maintaining import take_turn
from mlwarehouse.storage import open_storage
from mlwarehouse.tables.states import STATES
from tests.maintenance.conftest import log_runs

QUESTIONS = (
    "SELECT run_id, status, run_name FROM runs ORDER BY ALL",
    "SELECT * FROM params ORDER BY ALL",
    "SELECT run_id, key, value FROM tags ORDER BY ALL",
    "SELECT * FROM metric_summaries ORDER BY ALL",
)


@pytest.fixture
def warehouse(uri: str):
    made = Warehouse(uri, committer="off", capture_code=False)
    yield made
    made.close()


def answers(warehouse: Warehouse) -> list[list[dict]]:
    reading = warehouse.reading()
    return [warehouse.engine().query(question, reading=reading).to_pylist() for question in QUESTIONS]


def test_kept_folds_answer_as_events_do(warehouse, environment, tmp_path):
    ids = log_runs(warehouse, 3)
    by_events, found = answers(warehouse), warehouse.search_runs(search_all_experiments=True)
    assert warehouse.reading().kept is None
    warehouse.maintain()
    assert warehouse.reading().kept is not None
    assert answers(warehouse) == by_events
    # Also the pages of runs, whose files are with the folds.
    assert len(list((derived_folder(warehouse.engine().tables) / PAGES).iterdir())) == 1
    pd.testing.assert_frame_equal(warehouse.search_runs(search_all_experiments=True), found)
    # What comes in behind them, and rows in the spool.
    log_runs(warehouse, 2)
    with warehouse.start_run(run_id=ids[0]) as again:
        again.log_metric("x", -1.0, 99)
    warehouse.engine().tables.entries.clear()
    kept = answers(warehouse)
    assert warehouse.reading().kept is not None
    drop_states(warehouse.engine().tables)
    assert warehouse.reading().kept is None
    assert answers(warehouse) == kept
    # Each machine has its own.
    warehouse.flush()
    tables = warehouse.engine().tables
    folder = derived_folder(tables)
    # One process of a machine refreshes at a time.
    with folder.with_name(f"{folder.name}.lock").open("w") as held:
        assert try_lock(held.fileno())
        assert refresh(tables, least_rows=1) == []
    assert len(refresh(tables, least_rows=1)) == len(STATES)
    assert {(f.view, f.n_behind) for f in warehouse.doctor().folds} == {(spec.view, 0) for spec in STATES}
    environment.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    other = Warehouse(warehouse.uri, committer="off")
    assert other.reading().kept is None
    assert answers(other) == kept


def test_a_machine_that_asks_has_folds_made_by_its_committer(warehouse):
    log_runs(warehouse, 2)
    # A committer ends, and folds at its end, when no writer lives.
    warehouse.close()
    tables = EmbeddedTables(open_storage(warehouse.uri).child("tables"))
    # A machine that only logs makes none.
    take_turn(warehouse.storage)
    assert not derived_folder(tables).exists()
    asking = Warehouse(warehouse.uri, committer_idle_s=0.2, commit_interval_s=0.1)
    expected = answers(asking)
    deadline = time.monotonic() + 60
    # The next question sees to it. (Between the making of a fold's table and its first commit, events answer.)
    assert asking.reading().kept is None
    while [f.n_behind for f in fold_health(tables)] != [0] * len(STATES) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert asking.reading().kept is not None
    assert answers(asking) == expected
    asking.close()
    while asking.spool().has_committer() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not asking.spool().has_committer()
