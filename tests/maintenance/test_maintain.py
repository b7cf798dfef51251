"""Maintenance: small files become large ones, nobody's files go, and the committer sees to it by itself."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from mlwarehouse import Warehouse
from mlwarehouse.engines import embedded_maintain
from mlwarehouse.engines.embedded_checks import table_damages
from mlwarehouse.engines.embedded_gc import collect_garbage
from mlwarehouse.engines.embedded_log import log_entries, replay
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.engines.pins import pinned_files
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError, SnapshotGoneError, StorageError
from mlwarehouse.ingest.alone import LOCK
from mlwarehouse.ingest.committer import run_committer
from mlwarehouse.ingest.maintaining import take_turn
from mlwarehouse.tables import METRICS, PARAM_EVENTS, RUN_EVENTS, TABLES
from tests.maintenance.conftest import facts, log_runs

DAY_S = 24 * 3600.0


def path_of(warehouse: Warehouse, name: str = "metrics"):
    return warehouse.root / "tables" / name


def files_of(warehouse: Warehouse, name: str = "metrics") -> set[str]:
    return {p.name for p in path_of(warehouse, name).glob("*.parquet")}


def test_many_small_files_become_one_sorted_one(warehouse):
    log_runs(warehouse, 6)
    before = facts(warehouse)
    done = {d.name: d for d in warehouse.maintain()}
    assert (done["metrics"].n_merged, done["metrics"].n_written) == (6, 1)
    assert done["metrics"].n_bytes > 0
    assert facts(warehouse) == before
    (file,) = replay(path_of(warehouse)).files
    rows = pq.ParquetFile(path_of(warehouse) / file).read(columns=list(METRICS.sort_by)).to_pylist()
    assert rows == sorted(rows, key=lambda r: tuple(r.values()))
    # Another time there is nothing to do.
    assert all(d.n_merged == 0 for d in warehouse.maintain())


def test_a_group_is_bounded_in_rows_and_bytes():
    when = None
    files = [embedded_maintain.SmallFile(f"f{i}", 10, 100, when) for i in range(10)]
    by_rows = list(embedded_maintain.groups(files, group_rows=350, group_bytes=10**9))
    assert [len(g) for g in by_rows] == [3, 3, 3]
    by_bytes = list(embedded_maintain.groups(files, group_rows=10**9, group_bytes=45))
    assert [len(g) for g in by_bytes] == [4, 4, 2]


def test_in_the_background_files_of_one_size_are_merged_when_there_are_enough(warehouse, monkeypatch):
    monkeypatch.setattr(embedded_maintain, "FEWEST_OF_A_SIZE", 5)
    log_runs(warehouse, 4)
    assert take_turn(warehouse.root) == 0
    log_runs(warehouse, 2)
    before = facts(warehouse)
    assert take_turn(warehouse.root) > 0
    assert facts(warehouse) == before
    assert len(replay(path_of(warehouse)).files) == 1
    # The merged file is rewritten only with others of its size.
    merged = set(replay(path_of(warehouse)).files)
    log_runs(warehouse, 2)
    assert take_turn(warehouse.root) == 0
    assert merged < set(replay(path_of(warehouse)).files)


def test_a_turn_is_left_out_while_somebody_else_maintains(warehouse, monkeypatch):
    from mlwarehouse.parts.maintainer import maintainer_lock

    monkeypatch.setattr(embedded_maintain, "FEWEST_OF_A_SIZE", 2)
    log_runs(warehouse, 3)
    with maintainer_lock(warehouse.root):
        assert take_turn(warehouse.root) == 0
    assert take_turn(warehouse.root) > 0


@pytest.mark.parametrize("setting", ["auto", "off"])
def test_a_committer_maintains_unless_told_not_to(tmp_path, setting):
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    n = embedded_maintain.FEWEST_OF_A_SIZE + 2
    log_runs(warehouse, n)
    log_runs(warehouse, 1, flush=False)
    warehouse.close()
    n_rows = run_committer(warehouse.storage, warehouse.spool(), interval_s=0.1, idle_s=0.2, maintenance=setting)
    assert n_rows > 10
    files = replay(path_of(warehouse)).files
    assert len(files) == (1 if setting == "auto" else n + 1)
    reader = Warehouse(warehouse.root, committer="off")
    assert reader.sql("SELECT count(*) AS n FROM metrics", output_format="arrow").column("n").to_pylist() == [
        10 * n + 10
    ]
    assert reader.doctor().problems == ()


def test_the_committer_that_logging_starts_maintains_by_itself(tmp_path):
    root = tmp_path / "wh"
    first = Warehouse(root, committer="off", capture_code=False)
    log_runs(first, embedded_maintain.FEWEST_OF_A_SIZE + 2)
    first.close()
    logging = Warehouse(root, commit_interval_s=0.1, committer_idle_s=0.2, capture_code=False)
    log_runs(logging, 1, flush=False)
    logging.close()
    deadline = time.monotonic() + 60
    while len(replay(path_of(logging)).files) > 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(replay(path_of(logging)).files) <= 2
    while logging.spool().has_committer() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not logging.spool().has_committer()


def test_files_stay_as_long_as_the_retention_and_pins_say(warehouse):
    log_runs(warehouse, 3)
    old = warehouse.snapshot(keep=True, name="paper")
    before = files_of(warehouse)
    log_runs(warehouse, 2)
    log_runs(warehouse, 1)
    warehouse.maintain()
    path = path_of(warehouse)
    # Within the retention nothing goes.
    assert before < files_of(warehouse)
    assert collect_garbage(path, METRICS, retention_hours=168, pinned=()).n_old == 0
    removed = collect_garbage(path, METRICS, retention_hours=0, pinned=pinned_files(warehouse.root, "metrics"))
    assert removed.n_old == 3
    assert before < files_of(warehouse)
    ask = "SELECT count(*) AS n FROM metrics"
    assert warehouse.sql(ask, at=old, output_format="arrow").column("n").to_pylist() == [30]
    assert [(k.name, k.snapshot) for k in warehouse.snapshots()] == [("paper", old)]
    warehouse.release_snapshot("paper")
    assert collect_garbage(path, METRICS, retention_hours=0, pinned=pinned_files(warehouse.root, "metrics")).n_old == 3
    assert not before & files_of(warehouse)
    assert warehouse.sql(ask, output_format="arrow").column("n").to_pylist() == [60]


def test_a_kept_pin_outlives_the_log_of_its_version(warehouse):
    log_runs(warehouse, 2)
    pin = warehouse.snapshot(keep=True, name="paper")
    loose = warehouse.snapshot()
    log_runs(warehouse, 2)
    path = path_of(warehouse)
    then = time.time() - 8 * DAY_S
    for entry in log_entries(path).values():
        os.utime(entry, (then, then))
    warehouse.maintain()
    assert min(log_entries(path)) > pin.versions["metrics"]
    collect_garbage(path, METRICS, retention_hours=0, pinned=pinned_files(warehouse.root, "metrics"))
    fresh = Warehouse(warehouse.root, committer="off")
    ask = "SELECT count(*) AS n FROM metrics"
    assert fresh.sql(ask, at=pin, output_format="arrow").column("n").to_pylist() == [20]
    fresh.release_snapshot("paper")
    with pytest.raises(SnapshotGoneError, match="can't be read at version"):
        fresh.sql(ask, at=loose)


def test_kept_snapshots_have_names_once_and_are_checked(warehouse):
    log_runs(warehouse, 1)
    warehouse.snapshot(keep=True, name="a")
    with pytest.raises(ConflictError, match="A snapshot is kept as `a` already"):
        warehouse.snapshot(keep=True, name="a")
    with pytest.raises(InvalidInputError, match="can't be the name of a kept snapshot"):
        warehouse.snapshot(keep=True, name="../a")
    with pytest.raises(NotFoundError, match="Did you mean `a`"):
        warehouse.release_snapshot("aa")
    (warehouse.root / "pins" / "b.json").write_text("{")
    # What it protects isn't known, so nothing is removed.
    with pytest.raises(StorageError, match="no file can be removed"):
        warehouse.maintain()


def orphan(warehouse: Warehouse, age_s: float, name: str = "part-orphan.parquet"):
    path = path_of(warehouse) / name
    shutil.copyfile(path_of(warehouse) / next(iter(replay(path_of(warehouse)).files)), path)
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def test_files_that_were_never_committed_go_after_a_day_and_not_before(warehouse):
    log_runs(warehouse, 1)
    young, old = orphan(warehouse, DAY_S / 2, "part-young.parquet"), orphan(warehouse, 2 * DAY_S, "part-old.parquet")
    health = {t.name: t for t in warehouse.doctor().tables}["metrics"]
    assert (health.n_orphans, health.n_orphan_bytes) == (2, young.stat().st_size * 2)
    assert {d.name: d.n_orphans for d in warehouse.maintain()}["metrics"] == 1
    assert young.exists()
    assert not old.exists()


def test_what_a_death_in_a_commit_left_in_the_log_goes_after_a_day(warehouse):
    log_runs(warehouse, 1)
    log = path_of(warehouse) / "_delta_log"
    young, old = log / ".entry.json.1", log / ".entry.json.2"
    for path, age_s in ((young, DAY_S / 2), (old, 2 * DAY_S)):
        path.write_text("{}")
        os.utime(path, (time.time() - age_s,) * 2)
    assert {d.name: d.n_orphans for d in warehouse.maintain()}["metrics"] == 1
    assert young.exists()
    assert not old.exists()


def test_tables_of_an_older_release_get_the_shorter_log(tmp_path):
    """Also when several processes come at once, and a choice of the user's stays."""
    chosen, older = tmp_path / METRICS.name, tmp_path / PARAM_EVENTS.name
    of_then = {"delta.appendOnly": "true", "delta.checkpointInterval": "50"}
    DeltaTable.create(older, schema=PARAM_EVENTS.arrow_schema(), configuration=of_then)
    of_user = {**of_then, "delta.logRetentionDuration": "interval 3 days"}
    DeltaTable.create(chosen, schema=METRICS.arrow_schema(), configuration=of_user)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(EmbeddedTables(tmp_path).create, [METRICS, PARAM_EVENTS]) for _ in range(4)]:
            done.result()
    found = DeltaTable(older)
    assert found.metadata().configuration == {**of_then, "delta.logRetentionDuration": "interval 7 days"}
    assert found.version() <= 4
    # Our own doing is no damage.
    assert table_damages(older, PARAM_EVENTS) == []
    EmbeddedTables(tmp_path).create([METRICS, PARAM_EVENTS])
    assert DeltaTable(older).version() == found.version()
    assert DeltaTable(chosen).metadata().configuration == of_user
    assert DeltaTable(chosen).version() == 0


def test_nothing_goes_while_the_clock_is_behind_the_newest_commit(warehouse, monkeypatch):
    log_runs(warehouse, 1)
    old = orphan(warehouse, 2 * DAY_S)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    assert {d.n_orphans for d in warehouse.maintain()} == {0}
    assert old.exists()
    monkeypatch.undo()
    assert {d.name: d.n_orphans for d in warehouse.maintain()}["metrics"] == 1


def test_a_turn_removes_what_nobody_needs_about_once_an_hour(warehouse):
    log_runs(warehouse, 1)
    first = orphan(warehouse, 2 * DAY_S)
    take_turn(warehouse.root)
    assert not first.exists()
    second = orphan(warehouse, 2 * DAY_S)
    take_turn(warehouse.root)
    assert second.exists()
    then = time.time() - 2 * 3600
    os.utime(warehouse.root / LOCK, (then, then))
    take_turn(warehouse.root)
    assert not second.exists()


def test_expired_log_entries_go_behind_a_checkpoint(warehouse):
    log_runs(warehouse, 4)
    path = path_of(warehouse)
    then = time.time() - 8 * DAY_S
    for entry in log_entries(path).values():
        os.utime(entry, (then, then))
    before = facts(warehouse)
    warehouse.maintain()
    assert min(log_entries(path)) > 0
    assert facts(Warehouse(warehouse.root, committer="off")) == before


@pytest.mark.spark
def test_spark_merges_with_the_same_rows(warehouse, spark):
    log_runs(warehouse, 4)
    before = facts(warehouse)
    done = {d.name: d for d in warehouse.maintain(engine=spark)}
    assert (done["metrics"].n_merged, done["metrics"].n_written) == (4, 1)
    assert facts(warehouse) == before
    info = DeltaTable(path_of(warehouse)).history(1)[0]
    assert info["purpose"] == "compaction"
    assert warehouse.doctor(deep=True).problems == ()


@pytest.mark.spark
def test_after_everything_all_engines_count_the_same_in_plain_tables(warehouse, spark):
    ids = log_runs(warehouse, 5)
    warehouse.maintain()
    log_runs(warehouse, 3)
    (path_of(warehouse) / "_delta_log" / f"{max(log_entries(path_of(warehouse))):020d}.json").write_bytes(b"")
    assert all(m.is_mended for m in warehouse.repair())
    warehouse.close()
    again = Warehouse(warehouse.root, committer="off")
    again.purge(run_id=ids[0])
    for spec in TABLES:
        table = DeltaTable(path_of(again, spec.name))
        protocol = table.protocol()
        assert (protocol.min_reader_version, protocol.writer_features) == (1, None)
        assert table.metadata().configuration["delta.appendOnly"] == "true"
        sums = f"SELECT count(*) AS n, coalesce(sum(writer_seq), 0) AS s FROM {spec.name}"
        (ours,) = again.sql(sums, output_format="arrow").to_pylist()
        rows = table.to_pyarrow_table(columns=["writer_seq"])
        assert (rows.num_rows, sum(rows.column("writer_seq").to_pylist())) == (ours["n"], ours["s"])
        if spec not in (METRICS, RUN_EVENTS):
            # Spark takes seconds for each table; these have been through everything.
            continue
        frame = spark.read.format("delta").load(str(path_of(again, spec.name)))
        (theirs,) = frame.selectExpr("count(*) AS n", "coalesce(sum(writer_seq), 0) AS s").collect()
        assert (theirs.n, theirs.s) == (ours["n"], ours["s"])
    assert again.sql("SELECT count(*) AS n FROM metrics", output_format="arrow").column("n").to_pylist() == [70]
    again.close()
