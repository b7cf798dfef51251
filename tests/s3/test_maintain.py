"""A warehouse in an object store is looked after as one on disk."""

from __future__ import annotations

import multiprocessing
import time

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.engines import embedded_lease, embedded_maintain
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.embedded_gc import collect_garbage
from mlwarehouse.engines.embedded_lease import Lease
from mlwarehouse.engines.embedded_log import replay
from mlwarehouse.engines.embedded_maintain import maintain_a_little
from mlwarehouse.engines.pins import pinned_files
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError
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


def test_files_are_merged_pins_hold_and_what_nobody_needs_goes(warehouse, uri):
    log_runs(warehouse, 3)
    pin = warehouse.pin("paper")
    with pytest.raises(ConflictError, match="There is a pin `paper` already"):
        warehouse.pin("paper")
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
    assert warehouse.sql(ask, at=pin)["n"].tolist() == [30]
    assert warehouse.pins() == {"paper": pin}
    warehouse.unpin("paper")
    with pytest.raises(NotFoundError, match="There is no pin `paper`"):
        warehouse.unpin("paper")
    assert collect_garbage(place, METRICS, retention_hours=0, pinned=()).n_old == 3
    assert warehouse.sql(ask)["n"].tolist() == [50]
    health = warehouse.doctor()
    assert health.problems == ()
    assert {t.name: t.n_files for t in health.tables}["metrics"] == 1


def test_a_clock_that_is_ahead_removes_nothing(warehouse, monkeypatch):
    log_runs(warehouse, 2)
    place = warehouse.engine().tables.place(METRICS)
    place.write("part-staged.parquet", b"about to be committed")
    warehouse.maintain()
    there = place.names()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 30 * 24 * 3600)
    assert {(d.n_vacuumed, d.n_orphans) for d in warehouse.maintain()} == {(0, 0)}
    assert place.names() == there


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
    monkeypatch.setattr(embedded_lease, "LEASE_S", 1.0)
    monkeypatch.setattr(embedded_lease, "RENEW_S", 0.1)
    holder, other = Lease(open_storage(uri)), Lease(open_storage(uri))
    assert holder.take()
    until = time.monotonic() + 2.0
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
    results, barrier = context.Queue(), context.Barrier(3)
    processes = [context.Process(target=_race, args=(uri, barrier, results)) for _ in range(3)]
    for process in processes:
        process.start()
    assert sorted(results.get(timeout=60) for _ in processes) == [False, False, True]
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


def test_the_committer_maintains_beside_committing(warehouse):
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


def test_a_look_finds_what_is_damaged_there(warehouse):
    log_runs(warehouse, 2)
    place = warehouse.engine().tables.place(METRICS)
    first, second = files_of(warehouse)
    whole = place.read(first)
    place.write(first, whole[:40] + bytes(8) + whole[48:])
    place.delete(second)
    found = {(d.kind, d.path) for d in warehouse.damages(deep=True)}
    assert found == {("changed file", first), ("missing file", second)}
    assert not any("--repair" in problem for problem in warehouse.doctor().problems)
