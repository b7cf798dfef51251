"""Commits to tables in an object store: once, whoever competes and whatever answer gets lost."""

from __future__ import annotations

import multiprocessing

import pytest

from mlwarehouse.engines.base import Txn
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.errors import StorageError
from mlwarehouse.storage import objects, open_storage
from mlwarehouse.tables import METRICS
from tests.s3.rows import count, points


@pytest.fixture
def engine(uri: str) -> EmbeddedEngine:
    made = EmbeddedEngine(open_storage(uri).child("tables"))
    made.create_tables([METRICS])
    return made


def test_rows_come_back_at_each_version(engine):
    assert engine.append(METRICS, points("a", 10), txns=[Txn("a", 1)]).version == 1
    assert engine.append(METRICS, points("a", 10), txns=[Txn("a", 1)]).applied is False
    assert engine.append(METRICS, points("b", 5)).applied
    assert count(engine) == 15
    assert engine.transaction_version(METRICS, "a") == 1
    version, files = engine.tables.at(METRICS, 1)
    assert version == 1
    assert len(files) == 1
    data = [n for n in open_storage(engine.tables.place(METRICS).uri).names() if n.endswith(".parquet")]
    assert len(data) == 2


def is_log_put(line: str) -> bool:
    return line.startswith("PUT ") and "_delta_log" in line and ".json" in line


@pytest.mark.parametrize("txns", [(), (Txn("a", 1),)], ids=["without", "with"])
def test_a_commit_whose_answer_is_lost_is_found_in_the_log(engine, proxy, txns):
    lost = iter([True])
    proxy.swallows = lambda line: is_log_put(line) and next(lost, False)
    appended = engine.append(METRICS, points("a", 10), txns=txns)
    assert next(lost, None) is None
    assert (appended.applied, appended.n_rows) == (True, 10)
    assert count(engine) == 10
    assert engine.version(METRICS) == 1
    assert engine.append(METRICS, points("b", 10), txns=[Txn("b", 1)]).version == 2


def test_a_commit_whose_outcome_cannot_be_looked_up_is_settled_by_the_next_try(engine, proxy, monkeypatch):
    monkeypatch.setattr(objects, "PATIENCE_S", 0.2)
    monkeypatch.setitem(objects.DELTA_OPTIONS, "max_retries", "1")

    def swallow(line: str) -> bool:
        if is_log_put(line):
            proxy.close()
        return is_log_put(line)

    proxy.swallows = swallow
    with pytest.raises(StorageError, match=r"couldn't be written: .*can't be told until it can be read again"):
        engine.append(METRICS, points("a", 10), txns=[Txn("a", 1)])
    proxy.swallows = lambda line: False
    proxy.open()
    assert engine.append(METRICS, points("a", 10), txns=[Txn("a", 1)]).applied is False
    assert count(engine) == 10


def test_a_commit_that_is_refused_adds_nothing(engine, proxy, monkeypatch):
    monkeypatch.setitem(objects.DELTA_OPTIONS, "max_retries", "1")
    proxy.allows = lambda line: not is_log_put(line)
    with pytest.raises(StorageError, match=r"Table `metrics` in `s3://.* couldn't be written"):
        engine.append(METRICS, points("a", 10))
    proxy.allows = lambda line: True
    assert count(engine) == 0
    assert engine.version(METRICS) == 0


def _append(uri: str, who: int, n: int, results) -> None:
    engine = EmbeddedEngine(open_storage(uri).child("tables"))
    for i in range(n):
        assert engine.append(METRICS, points(f"{who}-{i}", 10), txns=[Txn(f"w{who}", i + 1)]).applied
        assert engine.append(METRICS, points(f"{who}-{i} without", 10)).applied
    results.put(who)


def test_four_processes_commit_at_once(engine, uri):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_append, args=(uri, who, 4, results)) for who in range(4)]
    for process in processes:
        process.start()
    assert sorted(results.get(timeout=60) for _ in processes) == [0, 1, 2, 3]
    for process in processes:
        process.join()
    assert count(engine) == 320
    assert engine.version(METRICS) == 32
