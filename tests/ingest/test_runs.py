"""Logging as a user sees it: runs, nesting, threads, resume, params, artifacts, and what is refused."""

from __future__ import annotations

import hashlib
import threading

import numpy as np
import pandas as pd
import pytest

import mlwarehouse as mlw
from mlwarehouse import Warehouse
from mlwarehouse.errors import (
    InvalidInputError,
    NotAWarehouseError,
    NotFoundError,
    ParamConflictError,
    RunFinishedError,
    StorageError,
    WarehouseNotFoundError,
)


def ask(warehouse: Warehouse, question: str) -> list[dict]:
    return warehouse.engine().query(question, reading=warehouse.reading()).to_pylist()


@pytest.fixture
def fluent(tmp_path):
    """The module-level functions, on a warehouse of the test's own."""
    yield mlw.set_warehouse(tmp_path / "wh", committer="off", capture_code=False)
    mlw.end_run()
    mlw.get_warehouse().close()


def test_a_run_from_start_to_end(fluent):
    with mlw.start_run(experiment="e", run_name="first", tags={"team": "nlp"}, description="**try**") as run:
        mlw.log_params({"lr": 1e-3, "dim": 64, "name": "adam", "flag": True})
        mlw.log_metric("loss", 0.5, step=1)
        mlw.log_metric("loss", np.float32(0.25), step=np.int64(2))
        mlw.log_metrics({"acc": 1, "f1": float("nan")}, step=2, context={"subset": "val"})
        mlw.set_tag("n", 5)
        mlw.delete_tag("team")
        assert mlw.active_run() is run
    assert mlw.active_run() is None
    (row,) = ask(fluent, "SELECT * FROM runs")
    assert (row["run_name"], row["status"], row["experiment_name"], row["attempt"]) == ("first", "FINISHED", "e", 0)
    assert row["ended_at"] >= row["started_at"]
    assert ask(fluent, "SELECT key, value, value_number FROM params ORDER BY key") == [
        {"key": "dim", "value": "64", "value_number": 64.0},
        {"key": "flag", "value": "True", "value_number": None},
        {"key": "lr", "value": "0.001", "value_number": 0.001},
        {"key": "name", "value": "adam", "value_number": None},
    ]
    assert ask(fluent, "SELECT series, last, count FROM metric_summaries WHERE key <> 'f1' ORDER BY key") == [
        {"series": 'acc {"subset":"val"}', "last": 1.0, "count": 1},
        {"series": "loss", "last": 0.25, "count": 2},
    ]
    tags = {r["key"]: r["value"] for r in ask(fluent, "SELECT key, value FROM tags")}
    assert tags == {"mlflow.runName": "first", "mlflow.note.content": "**try**", "n": "5"}


def test_an_exception_ends_the_run_as_failed_and_an_interrupt_as_killed(fluent):
    with pytest.raises(ZeroDivisionError), mlw.start_run(run_name="a"):
        _ = 1 / 0
    with pytest.raises(KeyboardInterrupt), mlw.start_run(run_name="b"):
        raise KeyboardInterrupt
    assert ask(fluent, "SELECT run_name, status FROM runs ORDER BY run_name") == [
        {"run_name": "a", "status": "FAILED"},
        {"run_name": "b", "status": "KILLED"},
    ]


def test_nested_runs_know_their_parent(fluent):
    with mlw.start_run(run_name="outer") as outer:
        with pytest.raises(InvalidInputError, match=r"is active\. End it by `end_run\(\)`, or start a nested one"):
            mlw.start_run()
        with mlw.start_run(run_name="inner", nested=True) as inner:
            mlw.log_metric("x", 1.0)
        mlw.log_metric("x", 2.0)
    assert ask(fluent, "SELECT run_id, parent_run_id FROM runs WHERE parent_run_id IS NOT NULL") == [
        {"run_id": inner.run_id, "parent_run_id": outer.run_id}
    ]
    assert ask(fluent, "SELECT run_id, value FROM metrics ORDER BY value") == [
        {"run_id": inner.run_id, "value": 1.0},
        {"run_id": outer.run_id, "value": 2.0},
    ]


def test_threads_log_to_the_one_run_or_to_their_own(fluent):
    errors = []

    def shared(number: int) -> None:
        for step in range(500):
            mlw.log_metric(f"t{number}", step, step)

    with mlw.start_run():
        threads = [threading.Thread(target=shared, args=(i,)) for i in range(8)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    assert ask(fluent, "SELECT count(*) AS n, count(DISTINCT (key, step)) AS d FROM metrics") == [
        {"n": 4000, "d": 4000}
    ]

    barrier = threading.Barrier(2)

    def own(number: int) -> None:
        with mlw.start_run(run_name=f"own-{number}"):
            barrier.wait()
            mlw.log_metric("own", number)
            barrier.wait()

    def neither() -> None:
        try:
            mlw.log_metric("own", 99)
        except InvalidInputError as error:
            errors.append(str(error))

    first, second = (threading.Thread(target=own, args=(i,)) for i in range(2))
    with mlw.start_run(run_name="third"):
        first.start()
        second.start()
        first.join()
        second.join()
    assert ask(
        fluent, "SELECT run_name, value FROM metrics JOIN runs USING (run_id) WHERE key = 'own' ORDER BY value"
    ) == [
        {"run_name": "own-0", "value": 0.0},
        {"run_name": "own-1", "value": 1.0},
    ]
    other = threading.Thread(target=neither)
    other.start()
    other.join()
    assert errors == ["No run is active: start one by `with mlwarehouse.start_run(): ...`."]


def test_resuming_goes_on_with_the_next_attempt(fluent):
    with mlw.start_run(experiment="e") as run:
        mlw.log_param("lr", 0.1)
        mlw.log_metric("x", 1.0, 1)
    with mlw.start_run(run_id=run.run_id) as again:
        assert again.attempt == 1
        assert again.info.experiment_id == run.info.experiment_id
        mlw.log_param("lr", 0.1)
        mlw.log_metric("x", 2.0, 1)
        with pytest.raises(ParamConflictError, match=r"Param `lr` of run .* is `0\.1` and was set again to `0\.2`"):
            mlw.log_param("lr", 0.2)
        assert ask(fluent, "SELECT status, ended_at FROM runs") == [{"status": "RUNNING", "ended_at": None}]
    assert ask(fluent, "SELECT value, attempt FROM metrics ORDER BY attempt") == [
        {"value": 1.0, "attempt": 0},
        {"value": 2.0, "attempt": 1},
    ]
    assert ask(fluent, "SELECT status, attempt FROM runs") == [{"status": "FINISHED", "attempt": 1}]
    with pytest.raises(NotFoundError, match="deadbeef"):
        mlw.start_run(run_id="deadbeef")


def test_what_is_refused_says_what_to_do(fluent):
    with pytest.raises(InvalidInputError, match="No run is active: start one by"):
        mlw.log_metric("x", 1.0)
    with mlw.start_run() as run:
        mlw.log_param("lr", 1)
        with pytest.raises(ParamConflictError, match="params are written once"):
            mlw.log_params({"fine": 1, "lr": 2})
        with pytest.raises(InvalidInputError, match="a metric's value is a number"):
            mlw.log_metric("x", "high")
        with pytest.raises(InvalidInputError, match="A metric's key must be text"):
            run.log_metric(3, 1.0)
        with pytest.raises(NotFoundError, match="there is no such file"):
            mlw.log_artifact("nowhere.txt")
        with pytest.raises(InvalidInputError):
            mlw.log_text("x", "../escape.txt")
        with pytest.raises(InvalidInputError, match="can't be described"):
            mlw.log_input(object())
    for late in (
        lambda: run.log_metric("x", 1.0),
        lambda: run.log_param("p", 1),
        lambda: run.set_tag("t", 1),
        lambda: run.log_text("x", "x.txt"),
    ):
        with pytest.raises(RunFinishedError, match=rf"has ended\. Resume it by `start_run\(run_id='{run.run_id}'\)`"):
            late()
    assert ask(fluent, "SELECT key FROM params") == [{"key": "lr"}]


def test_asking_for_a_run_that_is_not_there_makes_no_folder(tmp_path):
    warehouse = Warehouse(tmp_path / "none")
    with pytest.raises(InvalidInputError, match="No run is active"):
        warehouse.need_active_run()
    assert not (tmp_path / "none").exists()


def test_artifacts_and_inputs(fluent, tmp_path):
    folder = tmp_path / "out" / "sub"
    folder.mkdir(parents=True)
    (tmp_path / "out" / "a.txt").write_text("a")
    (folder / "b.bin").write_bytes(b"\0" * 10)
    frame = pd.DataFrame({"x": [1, 2, 3], "y": ["a", "b", None]})
    with mlw.start_run() as run:
        mlw.log_artifact(tmp_path / "out" / "a.txt")
        mlw.log_artifacts(tmp_path / "out", "all")
        mlw.log_dict({"k": 1}, "d.json")
        mlw.log_input(frame, name="xy", context="training")
        mlw.log_input(frame.copy(), name="xy", context="validation")
        mlw.log_input(tmp_path / "out" / "a.txt")
    rows = ask(fluent, "SELECT path, digest, size_bytes FROM artifacts ORDER BY path")
    assert [r["path"] for r in rows] == ["a.txt", "all/a.txt", "all/sub/b.bin", "d.json"]
    assert rows[0]["digest"] == hashlib.sha256(b"a").hexdigest()
    fetched = fluent.download_artifacts(run.run_id, "all", target=tmp_path / "back")
    assert (fetched / "sub" / "b.bin").read_bytes() == b"\0" * 10
    inputs = ask(fluent, "SELECT name, digest, context, source_type, profile FROM inputs ORDER BY name, context")
    assert [(i["name"], i["context"], i["source_type"]) for i in inputs] == [
        ("a.txt", None, "file"),
        ("xy", "training", "local"),
        ("xy", "validation", "local"),
    ]
    assert inputs[1]["digest"] == inputs[2]["digest"]
    assert inputs[1]["profile"] == '{"num_rows": 3}'


def test_a_place_that_is_not_a_warehouse(tmp_path):
    with pytest.raises(WarehouseNotFoundError, match=r"There is no warehouse at .*`mlwarehouse init --warehouse"):
        Warehouse(tmp_path / "nothing").reading()
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    for action in ("reading", "start_run", "create"):
        with pytest.raises(NotAWarehouseError, match=r"isn't a warehouse: .* something else \(letter.txt\)"):
            getattr(Warehouse(tmp_path / "other"), action)()
    with pytest.raises(NotAWarehouseError, match="is a file; a warehouse is a folder"):
        Warehouse(tmp_path / "other" / "letter.txt").start_run()
    with pytest.raises(InvalidInputError, match="files are kept in local folders"):
        Warehouse("ftp://bucket/wh")
    with pytest.raises(InvalidInputError, match="Unknown setting `durabilty`"):
        Warehouse(tmp_path / "x", durabilty="os")
    with pytest.raises(InvalidInputError, match="must be one of interval, always, os"):
        Warehouse(tmp_path / "x", durability="sometimes")
    (tmp_path / "wall").write_text("")
    with pytest.raises((StorageError, NotAWarehouseError)):
        Warehouse(tmp_path / "wall" / "wh").start_run()


def test_a_snapshot_and_a_past_moment_stay_what_they_were(warehouse):
    with warehouse.start_run() as run:
        run.log_metric("x", 1.0)
    pin = warehouse.snapshot()
    text = str(pin)
    import datetime as dt

    between = dt.datetime.now(dt.UTC)
    with warehouse.start_run() as run:
        run.log_metric("x", 2.0)
    warehouse.flush()
    question = "SELECT count(*) AS n FROM metrics"

    def count(**when) -> int:
        reading = warehouse.reading(**when)
        return warehouse.engine().query(question, reading=reading).column("n")[0].as_py()

    assert count() == 2
    assert count(at=pin) == count(at=text) == count(as_of=between) == count(as_of=between.isoformat()) == 1
    assert count(as_of="2020-01-01") == count(as_of=dt.date(2020, 1, 1)) == 0
    with pytest.raises(InvalidInputError, match="isn't a time"):
        count(as_of="yesterday")
    with pytest.raises(InvalidInputError, match="isn't a snapshot"):
        count(at="{}")
    with pytest.raises(InvalidInputError, match="not both"):
        count(at=pin, as_of="2020-01-01")


def test_rows_in_tables_and_in_the_spool_join_as_one(warehouse):
    # DuckDB sends a bloom filter of the join into the scans, and its scan of Arrow memory can't take one.
    for number in range(12):
        with warehouse.start_run(experiment="e", run_name=f"r{number:02}") as run:
            for step in range(300):
                run.log_metric("loss", 1 / (step + 1), step)
            run.log_metric("other", 1.0)
        if number == 8:
            warehouse.flush()
    question = """
        SELECT r.run_name, count(*) AS n, min(m.value) AS lowest FROM metrics AS m JOIN runs AS r USING (run_id)
        WHERE m.key = 'loss' AND r.experiment_name = 'e' GROUP BY r.run_id, r.run_name ORDER BY r.run_name"""
    rows = ask(warehouse, question)
    assert rows == [{"run_name": f"r{number:02}", "n": 300, "lowest": 1 / 300} for number in range(12)]


def test_maintenance_changes_no_answer(warehouse):
    for number in range(4):
        with warehouse.start_run() as run:
            run.log_metrics({"a": number, "b": -number}, step=number)
        warehouse.flush()
    pin = warehouse.snapshot()
    question = "SELECT key, value, step FROM metrics ORDER BY ALL"
    before = ask(warehouse, question)
    done = {d.name: d for d in warehouse.maintain()}
    assert done["metrics"].n_merged == 4
    assert done["metrics"].n_written == 1
    assert ask(warehouse, question) == before
    assert warehouse.engine().query(question, reading=warehouse.reading(at=pin)).to_pylist() == before
    health = {t.name: t for t in warehouse.doctor().tables}
    assert health["metrics"].n_files == 1
    assert health["metrics"].n_rows == 8
    assert warehouse.doctor().problems == ()


def test_doctor_tells_of_rows_that_wait_and_of_a_damaged_table(warehouse):
    with warehouse.start_run():
        pass
    (problem,) = warehouse.doctor().problems
    assert "run `mlwarehouse sync`" in problem
    warehouse.flush()
    assert warehouse.doctor().problems == ()
    log = warehouse.root / "tables" / "labels" / "_delta_log" / "00000000000000000000.json"
    log.write_text("{")
    warehouse.close()
    problems = Warehouse(warehouse.root).doctor().problems
    assert "Table `labels`" in problems[0]
    assert all("\n" not in p for p in problems)
