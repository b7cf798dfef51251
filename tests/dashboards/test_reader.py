import pytest

from mlwarehouse.dashboards.memo import Memo
from mlwarehouse.dashboards.reader import Reader
from mlwarehouse.errors import SqlError


def test_the_least_recently_used_answer_is_forgotten():
    memo, computed = Memo(capacity=2), []

    def ask(key):
        return memo.get(key, lambda: computed.append(key) or key)

    for key in ("a", "b", "a", "c", "a", "b"):
        assert ask(key) == key
    assert computed == ["a", "b", "c", "b"]
    assert len(memo) == 2


def test_a_failure_is_not_remembered():
    memo = Memo()
    with pytest.raises(ZeroDivisionError):
        memo.get("k", lambda: 1 // 0)
    assert memo.get("k", lambda: 2) == 2


def test_the_same_question_is_asked_once_per_commit(warehouse, builder, monkeypatch):
    monkeypatch.setattr("mlwarehouse.dashboards.reader.LOOK_S", 0)
    reader = Reader(warehouse)
    question = "SELECT COUNT(*) AS n FROM project_runs WHERE experiment_id = $e"
    for _ in range(3):
        assert reader.frame(question, {"e": "e1"})["n"].tolist() == [0]
    assert reader.frame(question, {"e": "e2"})["n"].tolist() == [0]
    assert len(warehouse.asked) == 2
    before = reader.versions()
    builder.experiment("e1", "sentiment")
    builder.run("r1", "e1", "first")
    builder.write()
    assert reader.versions() != before
    assert reader.frame(question, {"e": "e1"})["n"].tolist() == [1]
    assert len(warehouse.asked) == 3


def test_a_timed_answer_ages(warehouse, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("mlwarehouse.dashboards.reader.time.time", lambda: now[0])
    reader = Reader(warehouse)
    moment = reader.moment()
    for seconds in (0.0, 59.0, 61.0):
        now[0] = seconds
        reader.frame("SELECT 1 AS one FROM runs", is_timed=True)
        reader.frame("SELECT 1 AS one FROM runs")
    assert len(warehouse.asked) == 3
    assert reader.moment() != moment


def test_versions_are_looked_up_once_for_all_panels_of_a_page(warehouse, monkeypatch):
    now, looked = [0.0], []
    monkeypatch.setattr("mlwarehouse.dashboards.reader.time.monotonic", lambda: now[0])
    versions = warehouse.versions
    monkeypatch.setattr(warehouse, "versions", lambda: looked.append(1) or versions())
    reader = Reader(warehouse)
    for seconds in (0.0, 0.9, 1.1):
        now[0] = seconds
        reader.versions()
    assert len(looked) == 2


def test_a_column_added_to_an_answer_stays_with_the_one_who_added_it(project):
    reader = Reader(project)
    first = reader.frame("SELECT run_id FROM project_runs")
    first["mine"] = 1
    assert "mine" not in reader.frame("SELECT run_id FROM project_runs")


def test_an_engines_refusal_is_passed_on(project):
    with pytest.raises(SqlError):
        Reader(project).frame("SELECT no_such_column FROM project_runs")
