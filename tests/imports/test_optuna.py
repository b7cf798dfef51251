"""Importing Optuna's studies."""

from __future__ import annotations

import json
import sqlite3

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.imports import optuna

SCHEMA = """
    CREATE TABLE studies (study_id INTEGER PRIMARY KEY, study_name TEXT);
    CREATE TABLE study_directions (study_id INTEGER, direction TEXT, objective INTEGER);
    CREATE TABLE trials (
        trial_id INTEGER PRIMARY KEY, number INTEGER, study_id INTEGER, state TEXT, datetime_start DATETIME,
        datetime_complete DATETIME
    );
    CREATE TABLE trial_params (trial_id INTEGER, param_name TEXT, param_value FLOAT, distribution_json TEXT);
    CREATE TABLE trial_values (trial_id INTEGER, objective INTEGER, value FLOAT, value_type TEXT);
    CREATE TABLE trial_intermediate_values (
        trial_id INTEGER, step INTEGER, intermediate_value FLOAT, intermediate_value_type TEXT
    );
    CREATE TABLE trial_user_attributes (trial_id INTEGER, key TEXT, value_json TEXT);
    INSERT INTO studies VALUES (1, 'one'), (2, 'two');
    INSERT INTO study_directions VALUES (1, 'MINIMIZE', 0), (2, 'MAXIMIZE', 0), (2, 'MINIMIZE', 1);
    INSERT INTO trials VALUES
        (1, 0, 1, 'COMPLETE', '2026-01-01 00:00:00.5', '2026-01-01 00:01:00'),
        (2, 1, 1, 'PRUNED', '2026-01-01 00:00:00', '2026-01-01 00:02:00'),
        (3, 2, 1, 'WAITING', NULL, NULL),
        (4, 0, 2, 'RUNNING', '2026-01-01 00:00:00', NULL);
    INSERT INTO trial_values VALUES
        (1, 0, 0.5, 'FINITE'), (2, 0, NULL, 'INF_NEG'), (4, 0, 1.0, 'FINITE'), (4, 1, 2.0, 'FINITE');
    INSERT INTO trial_intermediate_values VALUES (2, 3, 0.75, 'FINITE'), (2, 4, NULL, 'NAN');
    INSERT INTO trial_user_attributes VALUES (1, 'note', '"why"');
"""


def counts(report):
    return {name: n for name, n in report.added.items() if n}


@pytest.fixture
def path(tmp_path):
    with sqlite3.connect(tmp_path / "optuna.db") as database:
        database.executescript(SCHEMA)
        described = {
            "lr": (0.125, {"name": "FloatDistribution", "attributes": {"low": 0, "high": 1}}),
            "depth": (3.0, {"name": "IntDistribution", "attributes": {"low": 1, "high": 9}}),
            "kind": (1.0, {"name": "CategoricalDistribution", "attributes": {"choices": ["mlp", "cnn"]}}),
            "size": (0.0, {"name": "CategoricalDistribution", "attributes": {"choices": [64, None]}}),
        }
        database.executemany(
            "INSERT INTO trial_params VALUES (1, ?, ?, ?)",
            [(key, value, json.dumps(one)) for key, (value, one) in described.items()],
        )
    database.close()
    return tmp_path / "optuna.db"


@pytest.mark.parametrize("most", [2, 1000])
def test_trials_come_with_what_they_tried_and_gave(warehouse, path, ask, monkeypatch, most):
    monkeypatch.setattr(optuna, "BATCH_TRIALS", most)
    assert counts(warehouse.import_(path)) == {"experiments": 2, "runs": 4, "params": 4, "points": 6, "tags": 1}
    question = """
        SELECT experiment_name, run_name, status, EPOCH_MS(ended_at) - EPOCH_MS(started_at) AS took
        FROM runs
        ORDER BY ALL"""
    assert [tuple(row.values()) for row in ask(question)] == [
        ("one", "trial-0", "FINISHED", 59_500),
        ("one", "trial-1", "KILLED", 120_000),
        ("one", "trial-2", "SCHEDULED", None),
        ("two", "trial-0", "RUNNING", None),
    ]
    assert {r["key"]: r["value"] for r in ask("SELECT key, value FROM params")} == {
        "lr": "0.125",
        "depth": "3",
        "kind": "cnn",
        "size": "64",
    }
    points = ask("SELECT key, step, value FROM metrics ORDER BY key, step, value")
    assert [(p["key"], p["step"], str(p["value"])) for p in points] == [
        ("intermediate_value", 3, "0.75"),
        ("intermediate_value", 4, "nan"),
        ("value", 0, "-inf"),
        ("value", 0, "0.5"),
        ("values_0", 0, "1.0"),
        ("values_1", 0, "2.0"),
    ]
    assert ask("SELECT key, value FROM tags") == [{"key": "optuna.user.note", "value": "why"}]
    assert {"key": "optuna.direction.1", "value": "MINIMIZE"} in ask("SELECT key, value FROM experiment_tags")


def test_again_adds_nothing_and_what_went_on_only_that(warehouse, path, ask):
    warehouse.import_(path)
    assert counts(warehouse.import_(path)) == {}
    with sqlite3.connect(path) as database:
        database.execute("UPDATE trials SET state = 'FAIL', datetime_complete = '2026-01-02' WHERE trial_id = 4")
        database.execute("INSERT INTO trial_intermediate_values VALUES (4, 1, 1.0, 'FINITE')")
        database.execute("INSERT INTO trials VALUES (5, 3, 1, 'COMPLETE', '2026-01-01', '2026-01-03')")
        database.execute("INSERT INTO trial_values VALUES (5, 0, 0.25, 'FINITE')")
    database.close()
    assert counts(warehouse.import_(path)) == {"runs": 2, "points": 2}
    assert ask("SELECT status FROM runs WHERE experiment_name = 'two'") == [{"status": "FAILED"}]


def test_what_makes_no_sense_is_told(warehouse, path):
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO trials VALUES (6, 0, 9, 'COMPLETE', NULL, NULL)")
        database.execute("INSERT INTO trials VALUES (7, 9, 1, 'LOST', 'noon', NULL)")
        database.execute("INSERT INTO trial_values VALUES (7, 0, NULL, 'FINITE')")
        database.execute("INSERT INTO trial_params VALUES (7, 'x', 5, '{no json')")
    database.close()
    report = warehouse.import_(path)
    assert report.oddity_counts() == {
        "trial without a study": 1,
        "trial of no state": 1,
        "time unreadable": 1,
        "value unreadable": 1,
        "param unreadable": 1,
    }
    assert (report.added["runs"], report.added["params"]) == (5, 5)
    with pytest.raises(InvalidInputError, match="isn't a SQLite file with Optuna's tables"):
        warehouse.import_(path.parent / "none.db", kind="optuna")


@pytest.mark.trial_data
def test_studies_of_others_come_with_exactly_what_is_in_them(trial_data, tmp_path):
    truth = json.loads((trial_data / "truth.json").read_text())["dev"]["hpo"]["sailboat_optuna"]
    warehouse = Warehouse(tmp_path / "wh", committer="off")
    (place,) = (trial_data / truth["folder"]).glob("*.db")
    report = warehouse.import_(place)
    assert counts(report) == {
        "experiments": truth["studies"],
        "runs": truth["trials"],
        "params": truth["trial_params"],
        "points": truth["trial_values"] + truth["intermediate_values"],
    }
    assert report.oddities == []
    found = warehouse.engine().query("SELECT status, COUNT(*) AS n FROM runs GROUP BY status").to_pylist()
    assert {r["status"]: r["n"] for r in found} == {optuna.STATUSES[s]: n for s, n in truth["states"].items()}
    assert counts(warehouse.import_(place)) == {}
    warehouse.close()
