"""Snapshots: what they answer stays what it was, for as long as they are kept, wherever the folder goes."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mlwarehouse import Snapshot, Warehouse
from mlwarehouse.cli import app
from mlwarehouse.engines.embedded_gc import collect_garbage
from mlwarehouse.engines.embedded_log import log_entries
from mlwarehouse.engines.pins import pinned_files
from mlwarehouse.errors import InvalidInputError, NotFoundError, SnapshotGoneError
from mlwarehouse.tables import TABLES
from tests.past.conftest import log_run


def said(warehouse: Warehouse, run_id: str, at) -> dict:
    """What the kinds of question answer in a snapshot."""
    count = "SELECT (SELECT count(*) FROM metrics) AS points, (SELECT count(*) FROM tags) AS tags"
    return {
        "search": warehouse.search_runs(output_format="arrow", order_by=["metrics.loss ASC"], at=at).to_pylist(),
        "sql": warehouse.sql(count, output_format="arrow", at=at).to_pylist(),
        "history": warehouse.metric_history(at=at).to_dict("records"),
        "run": warehouse.get_run(run_id, at=at),
        "registry": warehouse.search_model_versions(at=at),
        "alias": warehouse.get_model_version_by_alias("m", "champion", at=at),
    }


def vacuum(warehouse: Warehouse) -> int:
    """What maintenance does once all retention is over; how many files went."""
    warehouse.maintain()
    n = 0
    for spec in TABLES:
        path = warehouse.root / "tables" / spec.name
        n += collect_garbage(path, spec, retention_hours=0, pinned=pinned_files(warehouse.root, spec.name)).n_old
    return n


def filled(warehouse: Warehouse) -> str:
    run_id = log_run(warehouse, "first", loss=3.0)
    warehouse.registry.create_model_version("m", source="runs:/x/model", run_id=run_id, digest=None)
    warehouse.set_model_alias("m", "champion", 1)
    log_run(warehouse, "second", loss=2.0)
    return run_id


def age_the_log(warehouse: Warehouse) -> None:
    """As if a month had gone by, so that log entries behind a checkpoint are cleaned up."""
    then = time.time() - 40 * 24 * 3600
    for spec in TABLES:
        for entry in log_entries(warehouse.root / "tables" / spec.name).values():
            os.utime(entry, (then, then))


def test_a_kept_snapshot_answers_as_it_did_and_one_that_is_not_kept_says_why_it_can_not(machine):
    warehouse = machine("a")
    run_id = filled(warehouse)
    kept = warehouse.snapshot(keep=True, name="paper", note="table 2")
    before = said(warehouse, run_id, kept)
    assert before["sql"] == [{"points": 4, "tags": before["sql"][0]["tags"]}]
    log_run(warehouse, "between")
    loose = warehouse.snapshot()
    for number in range(8):
        log_run(warehouse, f"later-{number}", loss=number / 10)
        warehouse.registry.create_model_version("m", source="runs:/x/model", run_id=run_id, digest=None)
    warehouse.set_model_alias("m", "champion", 5)
    warehouse.maintain()
    age_the_log(warehouse)
    assert vacuum(warehouse) > 0
    reader = Warehouse(warehouse.root, committer="off")
    assert said(reader, run_id, kept) == said(reader, run_id, str(kept)) == said(reader, run_id, "paper") == before
    with pytest.raises(SnapshotGoneError) as error:
        reader.sql("SELECT count(*) FROM metrics", at=loose)
    message = str(error.value)
    assert "Table `metrics` can't be read at version" in message
    assert "maintenance last removed files of older versions on 20" in message
    assert "Ask `as_of` a time instead" in message
    assert "snapshot(keep=True)" in message
    # It is gone for good; and a kept one's files go when it is released.
    with pytest.raises(SnapshotGoneError):
        reader.snapshot(keep=True, at=loose)
    assert [(k.name, k.note, k.snapshot) for k in reader.snapshots()] == [("paper", "table 2", kept)]
    reader.release_snapshot("paper")
    vacuum(warehouse)
    with pytest.raises(SnapshotGoneError):
        reader.metric_history(at=kept)
    with pytest.raises(NotFoundError, match="There is no kept snapshot `paper`"):
        reader.search_runs(at="paper")


def test_a_version_whose_log_is_there_and_whose_files_are_not_says_so(machine):
    warehouse = machine("a")
    filled(warehouse)
    loose = warehouse.snapshot()
    log_run(warehouse, "later")
    vacuum(warehouse)
    with pytest.raises(SnapshotGoneError, match=r"2 of its 2 files are gone; maintenance last removed"):
        warehouse.sql("SELECT count(*) FROM metrics", at=loose)


def test_an_earlier_snapshot_can_be_kept_afterwards(machine):
    warehouse = machine("a")
    run_id = filled(warehouse)
    taken = warehouse.snapshot()
    before = said(warehouse, run_id, taken)
    log_run(warehouse, "later")
    assert warehouse.snapshot(keep=True, at=str(taken)) == taken
    vacuum(warehouse)
    (kept,) = warehouse.snapshots()
    assert kept.snapshot == taken
    assert said(warehouse, run_id, kept.name) == before


def test_a_snapshot_goes_with_the_folder(machine, tmp_path):
    warehouse = machine("a")
    run_id = filled(warehouse)
    text = str(warehouse.snapshot(keep=True, name="paper"))
    before = said(warehouse, run_id, text)
    log_run(warehouse, "later")
    vacuum(warehouse)
    shutil.copytree(warehouse.root, tmp_path / "copy")
    copy = Warehouse(tmp_path / "copy", committer="off", capture_code=False)
    assert said(copy, run_id, text) == said(copy, run_id, "paper") == before
    copy.close()
    (tmp_path / "copy").rename(tmp_path / "moved here")
    moved = Warehouse(tmp_path / "moved here", committer="off")
    assert said(moved, run_id, text) == before


def test_a_copy_that_went_its_own_way_is_told_from_the_original(machine, tmp_path):
    warehouse = machine("a")
    filled(warehouse)
    shutil.copytree(warehouse.root, tmp_path / "copy")
    copy = Warehouse(tmp_path / "copy", spool_dir=str(tmp_path / "s"), committer="off", capture_code=False)
    log_run(warehouse, "here")
    taken = warehouse.snapshot()
    with pytest.raises(SnapshotGoneError, match="this copy of the warehouse is older than what was asked for"):
        copy.sql("SELECT count(*) FROM metrics", at=taken)
    log_run(copy, "there")
    with pytest.raises(SnapshotGoneError, match=r"isn't the one that was meant: .*restored from a backup"):
        Warehouse(copy.root, committer="off").sql("SELECT count(*) FROM metrics", at=taken)
    copy.close()


def test_doctor_lists_kept_snapshots_and_misses_their_files(machine):
    warehouse = machine("a")
    filled(warehouse)
    warehouse.snapshot(keep=True, name="paper")
    log_run(warehouse, "later")
    warehouse.maintain()
    health = warehouse.doctor()
    assert [k.name for k in health.snapshots] == ["paper"]
    assert health.problems == ()
    # Somebody else's vacuum knows nothing of it.
    path = warehouse.root / "tables" / "metrics"
    collect_garbage(path, TABLES[3], retention_hours=0, pinned=())
    (problem,) = warehouse.doctor().problems
    assert "The kept snapshot `paper` can't be read in full: 2 of its files are gone" in problem


def test_what_can_not_be_meant_is_refused(machine):
    warehouse = machine("a")
    taken = warehouse.snapshot()
    for wrong in ({"name": "a"}, {"note": "b"}, {"at": taken}):
        with pytest.raises(InvalidInputError, match=r"add `keep=True`"):
            warehouse.snapshot(**wrong)
    with pytest.raises(NotFoundError, match="There is no kept snapshot `yesterday`"):
        warehouse.search_runs(at="yesterday")
    with pytest.raises(InvalidInputError, match="can't be the name of a kept snapshot"):
        warehouse.search_runs(at="two words")
    with pytest.raises(InvalidInputError, match="isn't a snapshot"):
        warehouse.search_runs(at='{"versions": 3}')
    values = json.loads(str(taken))
    for wrong in ({"versions": {"metrics": -1}}, {"versions": {"metrics": 0}}):
        with pytest.raises(InvalidInputError, match="isn't a snapshot"):
            warehouse.search_runs(at=json.dumps(values | wrong))
    with pytest.raises(InvalidInputError, match="the name of a kept one; got int"):
        warehouse.search_runs(at=3)
    later = json.dumps(json.loads(str(taken)) | {"form": 2})
    with pytest.raises(InvalidInputError, match="written by a later release"):
        warehouse.search_runs(at=later)


def test_on_the_command_line(machine, monkeypatch):
    monkeypatch.setenv("MLWAREHOUSE_COMMITTER", "off")
    warehouse = machine("a")
    filled(warehouse)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--warehouse", str(warehouse.root)])
        if done.exception is not None:
            raise done.exception
        return done.stdout

    text = run("snapshot").strip()
    assert Snapshot.parse(run("snapshot", "--keep", "paper", "--note", "table 2")).versions == warehouse.versions()
    log_run(warehouse, "later")
    for at in (text, "paper"):
        assert len(json.loads(run("runs", "--at", at, "--json"))) == 2
        assert json.loads(run("sql", "SELECT count(*) AS n FROM runs", "--at", at, "--json")) == [{"n": 2}]
        assert [v["version"] for v in json.loads(run("models", "list", "--at", at, "--json"))] == [1]
    assert json.loads(run("runs", "--as-of", "2020-01-01", "--json")) == []
    assert len(json.loads(run("models", "history", "m", "--at", "paper", "--json"))) == 3
    (kept,) = json.loads(run("snapshot", "--list", "--json"))
    assert (kept["name"], kept["note"]) == ("paper", "table 2")
    assert "kept snapshot: name paper" in run("doctor")
    run("snapshot", "--release", "paper")
    assert warehouse.snapshots() == []
    with pytest.raises(InvalidInputError, match="add `keep=True`"):
        run("snapshot", "--note", "lost")


@given(
    st.dictionaries(st.sampled_from([t.name for t in TABLES]), st.tuples(st.integers(0), st.integers(0, 2**32 - 1))),
    st.text(),
    st.integers(),
)
def test_the_text_of_a_snapshot_reads_back(tables, warehouse_id, taken_at):
    versions, checks = {n: v for n, (v, _) in tables.items()}, {n: c for n, (_, c) in tables.items()}
    snapshot = Snapshot(warehouse_id, taken_at, versions, checks)
    assert Snapshot.parse(str(snapshot)) == snapshot
    assert "\n" not in str(snapshot)
