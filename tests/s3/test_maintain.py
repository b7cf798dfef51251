"""A warehouse in an object store is looked after as one on disk."""

from __future__ import annotations

import multiprocessing
import time

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.engines import embedded_lease, embedded_maintain
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.embedded_gc import Removed, collect_garbage
from mlwarehouse.engines.embedded_lease import Lease
from mlwarehouse.engines.embedded_log import replay
from mlwarehouse.engines.embedded_maintain import clean, maintain_a_little
from mlwarehouse.engines.pins import missing_files, pinned_files
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError
from mlwarehouse.ingest.alone import alone
from mlwarehouse.ingest.committer import run_committer
from mlwarehouse.ingest.maintaining import take_turn
from mlwarehouse.storage import open_storage
from mlwarehouse.tables import METRICS, TABLES
from tests.maintenance.conftest import facts, log_runs
from tests.s3.rows import count, points


@pytest.fixture
def warehouse(uri: str):
    made = Warehouse(uri, committer="off", capture_code=False)
    yield made
    made.close()


@pytest.fixture
def engine(uri: str) -> EmbeddedEngine:
    made = EmbeddedEngine(open_storage(uri).child("tables"))
    made.create_tables([METRICS])
    return made


def files_of(warehouse: Warehouse) -> set[str]:
    return set(replay(warehouse.engine().tables.place(METRICS)).files)


def test_files_are_merged_kept_snapshots_hold_and_what_nobody_needs_goes(warehouse, uri):
    log_runs(warehouse, 3)
    kept = warehouse.snapshot(keep=True, name="paper", note="table 2")
    with pytest.raises(ConflictError, match="A snapshot is kept as `paper` already"):
        warehouse.snapshot(keep=True, name="paper")
    pinned = files_of(warehouse)
    log_runs(warehouse, 2)
    before = facts(warehouse)
    told = []
    done = {d.name: d for d in warehouse.maintain(told.append)}
    assert [t.name for t in told] == [t.name for t in TABLES]
    assert (done["metrics"].n_merged, done["metrics"].n_written, done["metrics"].n_vacuumed) == (5, 1, 0)
    assert facts(warehouse) == before
    assert all(d.n_merged == 0 for d in warehouse.maintain())
    place = warehouse.engine().tables.place(METRICS)
    removed = collect_garbage(place, METRICS, retention_hours=0, pinned=pinned_files(warehouse.storage, "metrics"))
    assert removed.n_old == 2
    assert {n for n in place.names() if n.endswith(".parquet")} == pinned | files_of(warehouse)
    ask = "SELECT count(*) AS n FROM metrics"
    assert [warehouse.sql(ask, at=at)["n"].tolist() for at in (kept, str(kept), "paper")] == [[30]] * 3
    assert [(s.name, s.note, s.snapshot) for s in warehouse.snapshots()] == [("paper", "table 2", kept)]
    health = warehouse.doctor()
    assert (health.problems, [s.name for s in health.snapshots]) == ((), ["paper"])
    assert {t.name: t.n_files for t in health.tables}["metrics"] == 1
    assert missing_files(warehouse.storage) == {}
    place.delete(min(pinned))
    assert missing_files(warehouse.storage) == {"paper": [f"metrics/{min(pinned)}"]}
    warehouse.release_snapshot("paper")
    with pytest.raises(NotFoundError, match="There is no kept snapshot `paper`"):
        warehouse.release_snapshot("paper")
    assert collect_garbage(place, METRICS, retention_hours=0, pinned=()).n_old == 2
    assert warehouse.sql(ask)["n"].tolist() == [50]
    # A look finds what is damaged, and promises no repair.
    log_runs(warehouse, 1)
    first, second = files_of(warehouse)
    whole = place.read(first)
    place.write(first, whole[:40] + bytes(8) + whole[48:])
    place.delete(second)
    assert {(d.kind, d.path) for d in warehouse.damages(deep=True)} == {
        ("changed file", first),
        ("missing file", second),
    }
    assert not any("--repair" in problem for problem in warehouse.doctor().problems)


def test_a_clock_that_is_ahead_removes_nothing(engine, monkeypatch):
    monkeypatch.setattr(embedded_maintain, "FEWEST_OF_A_SIZE", 2)
    for n in range(2):
        engine.append(METRICS, points(f"w{n}", 10))
    assert maintain_a_little(engine.tables, METRICS)
    place = engine.tables.place(METRICS)
    place.write("part-staged.parquet", b"about to be committed")
    there = place.names()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 30 * 24 * 3600)
    with alone(engine.tables.storage.parent) as turn:
        assert clean(engine.tables, METRICS, now=turn.now()) == Removed(0, 0, 0)
    assert place.names() == there
    # As that clock has it, all that is old is to go.
    removed = clean(engine.tables, METRICS)
    assert (removed.n_old, removed.n_orphans) == (2, 1)


def test_the_lease_is_one_ones_at_a_time(uri, monkeypatch):
    root = open_storage(uri)
    first, second = Lease(root), Lease(root)
    assert first.take()
    assert not second.take()
    assert abs(first.now() - time.time()) < 60
    first.note_cleaned()
    first.release()
    assert second.take()
    assert time.time() - second.cleaned_at < 60
    second.release()
    monkeypatch.setattr(embedded_lease, "LEASE_S", 1.0)
    dead = Lease(root)
    assert dead.take()
    # It dies: it neither renews the lease nor lets it go.
    dead._stop.set()
    third = Lease(root)
    assert not third.take()
    time.sleep(1.1)
    assert third.take()
    with pytest.raises(ConflictError, match="couldn't be renewed"):
        dead.now()
    dead.release()
    assert not Lease(root).take()
    third.release()


def test_a_lease_that_is_renewed_is_not_taken_over(uri, monkeypatch):
    monkeypatch.setattr(embedded_lease, "LEASE_S", 3.0)
    monkeypatch.setattr(embedded_lease, "RENEW_S", 0.1)
    holder, other = Lease(open_storage(uri)), Lease(open_storage(uri))
    assert holder.take()
    until = time.monotonic() + 4.0
    while time.monotonic() < until:
        assert not other.take()
        holder.now()
        time.sleep(0.2)
    holder.release()


def _race(uri: str, barrier, results) -> None:
    lease = Lease(open_storage(uri))
    barrier.wait(60)
    results.put(lease.take())
    barrier.wait(60)


def test_of_many_that_reach_for_the_lease_one_gets_it(uri):
    context = multiprocessing.get_context("spawn")
    results, barrier = context.Queue(), context.Barrier(2)
    processes = [context.Process(target=_race, args=(uri, barrier, results)) for _ in range(2)]
    for process in processes:
        process.start()
    assert sorted(results.get(timeout=60) for _ in processes) == [False, True]
    for process in processes:
        process.join()


def loses(proxy, version: int):
    """Have the answer to the commit of a version get lost, once."""
    lost = iter([True])
    proxy.swallows = lambda line: line.startswith("PUT ") and f"_delta_log/{version:020d}" in line and next(lost, False)
    return lost


def test_a_lease_whose_answer_is_lost_is_held(uri, request):
    # Before there is a proxy: delta-rs makes tables without letting this process's other threads run.
    lease = Lease(open_storage(uri))
    assert lease.take()
    lease.release()
    lost = loses(request.getfixturevalue("proxy"), 3)
    lease = Lease(open_storage(uri))
    assert lease.take()
    assert next(lost, None) is None
    lease.release()
    assert Lease(open_storage(uri)).take()


def test_a_merge_whose_answer_is_lost_is_made_once_and_keeps_its_file(engine, request, monkeypatch):
    monkeypatch.setattr(embedded_maintain, "FEWEST_OF_A_SIZE", 2)
    for n in range(3):
        engine.append(METRICS, points(f"w{n}", 10))
    lost = loses(request.getfixturevalue("proxy"), 4)
    assert maintain_a_little(engine.tables, METRICS)
    assert next(lost, None) is None
    assert count(engine) == 30
    state = replay(engine.tables.place(METRICS))
    assert len(state.files) == 1
    assert state.version == 4
    assert set(state.files) <= set(engine.tables.place(METRICS).names())


def test_of_two_merges_at_once_one_gives_up_and_no_row_is_touched(engine, monkeypatch):
    monkeypatch.setattr(embedded_maintain, "FEWEST_OF_A_SIZE", 2)
    for n in range(3):
        engine.append(METRICS, points(f"w{n}", 10))
    merge = embedded_maintain.merge_here

    def overtaken(place, spec, group):
        monkeypatch.setattr(embedded_maintain, "merge_here", merge)
        staged = merge(place, spec, group)
        # Meanwhile another one, which was frozen and has lost its lease, does the same.
        assert maintain_a_little(EmbeddedEngine(engine.tables.storage).tables, spec)
        return staged

    monkeypatch.setattr(embedded_maintain, "merge_here", overtaken)
    assert not maintain_a_little(engine.tables, METRICS)
    assert count(engine) == 30
    place = engine.tables.place(METRICS)
    # Three that were merged and the one that they became: what gave up has left nothing.
    assert len([n for n in place.names() if n.endswith(".parquet")]) == 4
    assert len(replay(place).files) == 1


def test_the_committer_maintains_beside_committing(warehouse, monkeypatch):
    monkeypatch.setattr(embedded_maintain, "FEWEST_OF_A_SIZE", 4)
    n = embedded_maintain.FEWEST_OF_A_SIZE + 1
    warehouse.create()
    engine = warehouse.engine()
    for number in range(n):
        engine.append(METRICS, points(f"w{number}", 2))
    log_runs(warehouse, 1, flush=False)
    # A committer ends when no writer lives.
    warehouse.close()
    run_committer(warehouse.storage, warehouse.spool(), interval_s=0.1, idle_s=0.2, maintenance="auto")
    assert len(files_of(warehouse)) == 1
    assert warehouse.sql("SELECT count(*) AS n FROM metrics")["n"].tolist() == [2 * n + 10]
    # What was removed about an hour ago isn't looked for again, and no lease is taken for nothing.
    lease = Lease(warehouse.storage)
    version = lease.look().version
    assert lease.look().cleaned_at > time.time() - 600
    assert take_turn(warehouse.storage) == 0
    assert lease.look().version == version


def test_what_needs_a_local_folder_says_what_to_do_instead(warehouse):
    warehouse.create()
    with pytest.raises(InvalidInputError, match=r"needs the jars of hadoop-aws.*load\('s3a://"):
        warehouse.spark()
    with pytest.raises(InvalidInputError, match="hadoop-aws"):
        warehouse.maintain(engine="spark")
    with pytest.raises(InvalidInputError, match=r"A repair needs a local folder.*doctor --deep"):
        warehouse.repair()
