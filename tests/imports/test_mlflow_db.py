"""Importing MLflow's databases."""

from __future__ import annotations

import csv
import gzip
import json
import math
import sqlite3

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.imports import mlflow_db_runs

from .mlflow_database import START, A, B, C, new_database, old_database


def counts(report):
    return {name: n for name, n in report.added.items() if n}


@pytest.fixture
def path(tmp_path):
    return new_database(tmp_path / "mlflow.db")


def test_everything_of_a_database_comes_as_it_was(warehouse, path, ask):
    report = warehouse.import_(f"sqlite:///{path}")
    assert (
        dict(report.found)
        == dict(report.added)
        == {
            "experiments": 2,
            "runs": 3,
            "params": 2,
            "points": 7,
            "tags": 1,
            "inputs": 1,
            "artifacts": 1,
            "logged_models": 1,
            "models": 1,
            "model_versions": 2,
            "model_aliases": 1,
        }
    )
    assert report.oddity_counts() == {"artifacts not at hand": 2, "table left out": 1}
    question = """
        SELECT
            run_id, experiment_name, run_name, status, lifecycle_stage, parent_run_id,
            EPOCH_MS(started_at) - $start AS began, EPOCH_MS(ended_at) - $start AS ended
        FROM runs"""
    assert {row.pop("run_id"): tuple(row.values()) for row in ask(question, start=START)} == {
        A: ("digits", "one", "FINISHED", "active", None, 0, 5),
        B: ("digits", "two", "RUNNING", "active", A, 0, None),
        C: ("gone", "three", "KILLED", "deleted", None, 0, 5),
    }
    points = ask("SELECT step, value FROM metrics WHERE run_id = $run AND key = 'loss' ORDER BY step", run=A)
    assert [str(p["value"]) for p in points] == ["0.5", "nan", "inf", "-inf"]
    assert len(ask("SELECT step FROM metrics WHERE run_id = $run", run=B)) == 2
    assert ask("SELECT LENGTH(value) AS n FROM params WHERE key = 'long'") == [{"n": 9000}]
    assert ask("SELECT name, digest, context FROM inputs") == [{"name": "yelp", "digest": "abc", "context": "training"}]
    assert ask("SELECT run_id, path FROM artifacts") == [{"run_id": A, "path": "notes.txt"}]
    first, second = (warehouse.get_model_version("net", n) for n in (1, 2))
    assert (first.source, first.current_stage, dict(first.tags)) == (f"runs:/{A}/model", "Production", {"seen": "yes"})
    assert (second.source, second.aliases, second.creation_timestamp) == (f"runs:/{B}/net", ("champion",), START + 2)
    assert ask("SELECT action FROM audit") == [{"action": "import"}]


def test_a_database_of_the_first_releases_comes_too(warehouse, tmp_path, ask):
    report = warehouse.import_(old_database(tmp_path / "old.db"))
    assert counts(report) == {"experiments": 1, "runs": 1, "points": 2, "tags": 1}
    assert ask("SELECT run_name FROM runs") == [{"run_name": "first"}]
    assert ask("SELECT step, value FROM metrics ORDER BY value") == [
        {"step": 0, "value": 0.25},
        {"step": 0, "value": 0.5},
    ]


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_runs_of_any_size_come_whole_and_again_adds_what_is_new(warehouse, path, ask, monkeypatch, most):
    monkeypatch.setattr(mlflow_db_runs, "BATCH_POINTS", most)
    told = []
    assert warehouse.import_(path, on_progress=told.append).added["points"] == 7
    assert (told[-1].done, told[-1].total) == (3, 3)
    assert counts(warehouse.import_(path)) == {}
    with sqlite3.connect(path) as database:
        row = ("loss", 0.125, START + 9, A, 9, 0)
        database.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", [row, row])
        database.execute("UPDATE runs SET status = 'FAILED', end_time = ? WHERE run_uuid = ?", [START + 7, B])
    database.close()
    assert counts(warehouse.import_(path)) == {"runs": 1, "points": 2}
    steps = ask("SELECT step FROM metrics WHERE run_id = $run AND key = 'loss' ORDER BY writer_seq", run=A)
    assert [s["step"] for s in steps] == [0, 1, 2, 3, 9, 9]
    assert ask("SELECT status FROM runs WHERE run_id = $run", run=B) == [{"status": "FAILED"}]


def test_a_server_may_write_while_it_is_read(warehouse, path):
    other = sqlite3.connect(path, timeout=0)

    def written(progress):
        with other:
            other.execute("INSERT INTO params VALUES (?, '1', ?)", [f"p{progress.done}", A])

    warehouse.import_(path, on_progress=written)
    assert counts(warehouse.import_(path)) == {"params": 1}
    other.close()


def test_rows_that_are_no_points_are_told_and_left_out(warehouse, path):
    with sqlite3.connect(path) as database:
        database.executemany(
            "INSERT INTO metrics VALUES ('odd', ?, ?, ?, ?, 0)",
            [("high", START, A, 0), (1.0, None, A, 0), (1.0, START, A, "x"), (1.0, -5, A, 0), (2, START, A, 1)],
        )
        database.execute("INSERT INTO params VALUES ('bytes', CAST(X'FF41' AS TEXT), ?)", [A])
        database.execute("INSERT INTO runs VALUES (?, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 99, NULL)", ["9" * 32])
    database.close()
    report = warehouse.import_(path)
    found = report.oddity_counts()
    assert (
        found.items()
        >= {"metric row unreadable": 4, "not UTF-8": 1, "experiment missing": 1, "run without a status": 1}.items()
    )
    assert (report.added["points"], report.added["runs"], report.added["params"]) == (8, 4, 3)
    assert counts(warehouse.import_(path)) == {}


def test_a_damaged_file_gives_what_it_can(warehouse, path):
    content = bytearray(path.read_bytes())
    with sqlite3.connect(path) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'params'").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    database.close()
    content[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(content)
    report = warehouse.import_(path)
    assert report.oddity_counts()["table unreadable"] == 1
    assert (report.added["runs"], report.added["points"], report.added["params"]) == (3, 7, 0)


def test_another_database_is_refused(warehouse, tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("CREATE TABLE x (y)")
    database.close()
    with pytest.raises(InvalidInputError, match="isn't a SQLite file with MLflow's tables"):
        warehouse.import_(tmp_path / "other.db", kind="mlflow-db")


@pytest.mark.trial_data
@pytest.mark.parametrize(
    "name",
    [
        "directionclassifier_2026/mlflow.db",
        "directionclassifier_2026/mlruns.db",
        "hyperopt_2021/mlruns.db",
        "kobe_2024/mlruns.db",
    ],
)
def test_a_database_of_others_comes_with_exactly_what_is_in_it(trial_data, tmp_path, name):
    truth = json.loads((trial_data / "truth.json").read_text())["dev"]["mlflow_db"][name]
    warehouse = Warehouse(tmp_path / "wh", committer="off")
    report = warehouse.import_(trial_data / "dev" / "mlflow_db" / name)
    expected = {
        "experiments": "experiments",
        "runs": "runs",
        "params": "params",
        "points": "metric_points",
        "tags": "tags",
        "logged_models": "logged_models",
        "models": "registered_models",
        "model_versions": "model_versions",
        "model_aliases": "registered_model_aliases",
    }
    assert {name: report.added[name] for name in expected} == {n: truth.get(t, 0) for n, t in expected.items()}
    question = """
        SELECT run_id, status, lifecycle_stage, EPOCH_MS(started_at) AS began, EPOCH_MS(ended_at) AS ended,
            (SELECT COUNT(*) FROM metrics WHERE metrics.run_id = runs.run_id) AS n,
            (SELECT COALESCE(SUM(value), 0) FROM metrics WHERE metrics.run_id = runs.run_id) AS total
        FROM runs"""
    found = {row["run_id"]: row for row in warehouse.engine().query(question).to_pylist()}
    with gzip.open(trial_data / "dev" / "truth_runs" / f"db_{name.replace('/', '_')}.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            run = found.pop(row["run_id"])
            assert (run["status"], run["lifecycle_stage"]) == (row["status"], row["lifecycle_stage"])
            ended = int(row["end_time"]) if row["end_time"] else None
            assert (run["began"], run["ended"], run["n"]) == (int(row["start_time"]), ended, int(row["metric_points"]))
            assert math.isclose(run["total"], float(row["value_sum"] or 0), rel_tol=1e-9, abs_tol=1e-9)
    assert not found
    assert counts(warehouse.import_(trial_data / "dev" / "mlflow_db" / name)) == {}
    warehouse.close()
