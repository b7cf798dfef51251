"""Folds over a warehouse in an object store are kept on each machine's own disk, and answer as events do."""

from __future__ import annotations

import time

import pytest

from mlwarehouse import Warehouse
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
    by_events = answers(warehouse)
    assert warehouse.reading().kept is None
    warehouse.maintain()
    assert warehouse.reading().kept is not None
    assert answers(warehouse) == by_events
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
    refresh(warehouse.engine().tables, least_rows=1)
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
    while asking.reading().kept is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert asking.reading().kept is not None
    assert answers(asking) == expected
    asking.close()
    while asking.spool().has_committer() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not asking.spool().has_committer()


def test_one_process_of_a_machine_refreshes_at_a_time(warehouse):
    from mlwarehouse.disk import try_lock

    log_runs(warehouse, 1)
    tables = warehouse.engine().tables
    folder = derived_folder(tables)
    folder.parent.mkdir(parents=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as held:
        assert try_lock(held.fileno())
        assert refresh(tables, least_rows=1) == []
    assert len(refresh(tables, least_rows=1)) == 4
