"""Searches over kept folds: what was maintained, committed since, and is still in the spool, as one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pandas as pd
import pytest
from deltalake import DeltaTable

from mlwarehouse import Warehouse
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.embedded_follow import write_checkpoint
from mlwarehouse.engines.embedded_kept import fold_health
from mlwarehouse.engines.embedded_log import log_entries
from mlwarehouse.engines.embedded_states import drop_states, refresh
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.errors import FoldsGoneError
from mlwarehouse.tables.states import STATES


@pytest.fixture
def warehouse(tmp_path: Path):
    made = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    yield made
    made.close()


def log(warehouse: Warehouse, first: int, last: int) -> list[str]:
    ids = []
    for number in range(first, last):
        with warehouse.start_run(experiment=f"e{number % 2}", run_name=f"run-{number}") as run:
            run.log_params({"lr": number / 10, "kind": "abc"[number % 3]})
            run.log_metrics({"loss": 1 / (number + 1), "acc": number / 100}, 1)
            run.log_metric("loss", 0.5 + number, 2)
            run.set_tag("team", "x")
        ids.append(run.run_id)
    return ids


QUESTIONS: tuple[dict, ...] = (
    {},
    {"filter_string": "metrics.loss > 3 AND params.lr < 1.2", "order_by": ["metrics.acc DESC"]},
    {"filter_string": "metrics.loss.min < 0.2 OR params.kind = 'a'", "order_by": ["params.kind ASC", "metrics.loss"]},
    {"filter_string": "tags.team = 'y'"},
    {"filter_string": "status = 'RUNNING'"},
    {"experiment_names": ["e1"], "max_results": 3},
    {"columns": ["run_id", "metrics.loss.max", "metrics.acc.count", "params.lr"]},
    {"run_view_type": 3},
)


def answers(warehouse: Warehouse) -> list[pd.DataFrame]:
    return [warehouse.search_runs(**question) for question in QUESTIONS]


def test_a_search_is_the_same_with_and_without_kept_folds(warehouse):
    ids = log(warehouse, 0, 8)
    warehouse.maintain()
    assert [fold.n_behind for fold in warehouse.doctor().folds] == [0, 0, 0, 0]
    # Since then: new runs, and old ones that go on; some of it committed, some in the spool.
    log(warehouse, 8, 12)
    with warehouse.start_run(run_id=ids[0]) as run:
        run.log_metric("loss", -1.0, 3)
        run.set_tag("team", "y")
        run.log_param("late", "p")
    warehouse.flush()
    assert max(fold.n_behind for fold in warehouse.doctor().folds) > 0
    log(warehouse, 12, 14)
    going = warehouse.start_run(experiment="e0", run_name="going")
    going.log_metric("loss", 7.0, 0)

    assert warehouse.reading().kept is not None
    kept = answers(warehouse)
    one = warehouse.get_run(ids[0])
    pin = warehouse.snapshot()
    pinned = warehouse.search_runs(at=pin)

    drop_states(warehouse.engine().tables)
    assert warehouse.reading().kept is None
    for found, expected in zip(kept, answers(warehouse), strict=True):
        pd.testing.assert_frame_equal(found, expected)
    assert len(kept[0]) == 15
    assert len(kept[1]) > 3
    assert len(kept[3]) == 1
    assert one == warehouse.get_run(ids[0])
    assert one.data.metrics["loss"] == -1.0
    assert one.data.params["late"] == "p"
    pd.testing.assert_frame_equal(pinned, warehouse.search_runs(at=pin))
    going.end()


def test_a_pin_from_before_the_folds_is_answered_from_events(warehouse):
    log(warehouse, 0, 3)
    pin = warehouse.snapshot()
    before = warehouse.search_runs(at=pin)
    log(warehouse, 3, 5)
    warehouse.maintain()
    assert warehouse.reading().kept is not None
    assert warehouse.reading(at=pin).kept is None
    pd.testing.assert_frame_equal(warehouse.search_runs(at=pin), before)
    assert len(warehouse.search_runs()) == 5


def test_sql_on_views_goes_by_ids(warehouse):
    ids = log(warehouse, 0, 4)
    warehouse.maintain()
    log(warehouse, 4, 5)
    found = warehouse.sql(
        "SELECT r.run_id, r.run_name, p.value, m.last FROM runs AS r JOIN params AS p USING (run_id) "
        "JOIN metric_summaries AS m USING (run_id) WHERE p.key = 'lr' AND m.key = 'acc' ORDER BY r.run_name"
    )
    assert found.run_id.tolist()[:4] == ids
    assert found.value.tolist() == ["0.0", "0.1", "0.2", "0.3", "0.4"]
    assert found["last"].tolist() == [0.0, 0.01, 0.02, 0.03, 0.04]


def test_a_table_restored_from_a_backup_is_told_from_the_one_that_was_folded(warehouse, tmp_path):
    import shutil

    log(warehouse, 0, 2)
    warehouse.maintain()
    warehouse.close()
    shutil.copytree(tmp_path / "wh" / "tables", tmp_path / "backup")
    log(warehouse, 2, 4)
    warehouse.maintain()
    warehouse.close()
    shutil.rmtree(tmp_path / "wh" / "tables")
    shutil.copytree(tmp_path / "backup", tmp_path / "wh" / "tables")
    restored = Warehouse(tmp_path / "wh", committer="off", capture_code=False, spool_dir=str(tmp_path / "other"))
    assert restored.reading().kept is None
    assert sorted(restored.search_runs()["tags.mlflow.runName"]) == ["run-0", "run-1"]
    log(restored, 4, 9)
    restored.flush()
    assert restored.reading().kept is None
    restored.maintain()
    assert restored.reading().kept is not None
    assert len(restored.search_runs()) == 7
    restored.close()


def test_a_fold_that_cannot_go_on_takes_none_with_it_that_was_just_made(warehouse):
    log(warehouse, 0, 2)
    warehouse.maintain()
    log(warehouse, 2, 4)
    warehouse.flush()
    # The last view's events are of another past.
    folder = warehouse.root / "tables" / STATES[-1].source
    last = log_entries(folder)[DeltaTable(folder).version() - 1]
    last.write_bytes(last.read_bytes() + b"\n")
    tables = EmbeddedTables(warehouse.root / "tables")
    assert [r.view for r in refresh(tables, least_rows=1)] == [spec.view for spec in STATES]
    assert [(f.view, f.n_behind) for f in fold_health(tables)] == [(spec.view, 0) for spec in STATES]
    assert warehouse.reading().kept is not None
    assert len(warehouse.search_runs()) == 4


def test_a_fold_is_taken_up_before_the_log_behind_it_expires(warehouse):
    log(warehouse, 0, 2)
    warehouse.maintain()
    log(warehouse, 2, 3)
    warehouse.flush()
    tables = EmbeddedTables(warehouse.root / "tables")
    assert refresh(tables) == []
    old = time.time() - 2 * 24 * 3600
    for spec in STATES:
        for entry in log_entries(warehouse.root / "tables" / spec.source).values():
            os.utime(entry, (old, old))
    assert [r.view for r in refresh(tables)] == [spec.view for spec in STATES]
    assert refresh(tables) == []


def test_a_fold_that_is_kept_first_when_the_log_has_no_start_any_more_takes_up_everything(warehouse):
    log(warehouse, 0, 2)
    warehouse.flush()
    tables = EmbeddedTables(warehouse.root / "tables")
    for spec in STATES:
        folder = warehouse.root / "tables" / spec.source
        write_checkpoint(folder)
        entries = log_entries(folder)
        for version in sorted(entries)[:-1]:
            entries[version].unlink()
    assert [r.view for r in refresh(tables)] == [spec.view for spec in STATES]
    assert warehouse.reading().kept is not None
    assert len(warehouse.search_runs()) == 2


def test_a_column_of_a_later_release_changes_no_answer(warehouse):
    from deltalake import Field, write_deltalake
    from deltalake.schema import PrimitiveType

    log(warehouse, 0, 2)
    warehouse.maintain()
    log(warehouse, 2, 3)
    warehouse.flush()
    for name in ("param_events", "metrics"):
        table = DeltaTable(warehouse.root / "tables" / name)
        rows = table.to_pyarrow_table()
        table.alter.add_columns([Field("later", PrimitiveType("string"), nullable=True)])
        copied = rows.slice(0, 1).append_column("later", [["x"]])
        write_deltalake(table, copied, mode="append")
    warehouse.close()
    assert warehouse.reading().kept is not None
    kept = answers(warehouse)
    drop_states(warehouse.engine().tables)
    for found, expected in zip(kept, answers(warehouse), strict=True):
        pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("drops", [1, 3])
def test_a_question_whose_folds_are_dropped_meanwhile_is_asked_again(warehouse, monkeypatch, drops):
    log(warehouse, 0, 3)
    warehouse.maintain()
    with warehouse.start_run(run_id=log(warehouse, 3, 4)[0]) as run:
        run.set_tag("late", "yes")
    expected = warehouse.search_runs(search_all_experiments=True)
    real, dropped = EmbeddedEngine.rows_of_runs, []

    def dropping(self, *arguments):
        found = real(self, *arguments)
        if len(dropped) < drops:
            dropped.append(drop_states(self.tables))
        return found

    monkeypatch.setattr(EmbeddedEngine, "rows_of_runs", dropping)
    pd.testing.assert_frame_equal(warehouse.search_runs(search_all_experiments=True), expected)
    assert dropped
    monkeypatch.undo()
    # One that goes on after its folds are gone says so.
    warehouse.maintain()
    engine = warehouse.engine()
    reading = warehouse.reading()
    drop_states(engine.tables)
    with pytest.raises(FoldsGoneError, match="ask again"):
        engine.query("SELECT * FROM params", reading=reading)
