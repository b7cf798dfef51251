"""Databases as MLflow makes them: the tables that are read, of an old and of a new schema."""

from __future__ import annotations

import sqlite3
from pathlib import Path

START = 1_700_000_000_000
MAX = 1.7976931348623157e308

OLD = """
    CREATE TABLE experiments (
        experiment_id INTEGER PRIMARY KEY, name TEXT, artifact_location TEXT, lifecycle_stage TEXT
    );
    CREATE TABLE runs (
        run_uuid TEXT PRIMARY KEY, name TEXT, user_id TEXT, status TEXT, start_time BIGINT, end_time BIGINT,
        lifecycle_stage TEXT, artifact_uri TEXT, experiment_id INTEGER
    );
    CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
    CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
    CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT);
"""

NEW = """
    ALTER TABLE experiments ADD COLUMN creation_time BIGINT;
    ALTER TABLE runs ADD COLUMN deleted_time BIGINT;
    ALTER TABLE metrics ADD COLUMN step BIGINT DEFAULT 0;
    ALTER TABLE metrics ADD COLUMN is_nan BOOLEAN DEFAULT 0;
    CREATE INDEX index_metrics_run_uuid ON metrics (run_uuid);
    CREATE TABLE experiment_tags (key TEXT, value TEXT, experiment_id INTEGER);
    CREATE TABLE datasets (
        dataset_uuid TEXT, experiment_id INTEGER, name TEXT, digest TEXT, dataset_source_type TEXT, dataset_source TEXT,
        dataset_schema TEXT, dataset_profile TEXT
    );
    CREATE TABLE inputs (
        input_uuid TEXT, source_type TEXT, source_id TEXT, destination_type TEXT, destination_id TEXT
    );
    CREATE TABLE input_tags (input_uuid TEXT, name TEXT, value TEXT);
    CREATE TABLE registered_models (name TEXT, creation_time BIGINT, last_updated_time BIGINT, description TEXT);
    CREATE TABLE registered_model_tags (key TEXT, value TEXT, name TEXT);
    CREATE TABLE registered_model_aliases (alias TEXT, version INTEGER, name TEXT);
    CREATE TABLE model_versions (
        name TEXT, version INTEGER, creation_time BIGINT, last_updated_time BIGINT, description TEXT, user_id TEXT,
        current_stage TEXT, source TEXT, run_id TEXT
    );
    CREATE TABLE model_version_tags (key TEXT, value TEXT, name TEXT, version INTEGER);
    CREATE TABLE logged_models (
        model_id TEXT, experiment_id INTEGER, name TEXT, artifact_location TEXT, creation_timestamp_ms BIGINT,
        source_run_id TEXT
    );
    CREATE TABLE logged_model_params (model_id TEXT, experiment_id INTEGER, param_key TEXT, param_value TEXT);
    CREATE TABLE logged_model_tags (model_id TEXT, experiment_id INTEGER, tag_key TEXT, tag_value TEXT);
    CREATE TABLE trace_info (request_id TEXT);
"""

A, B, C = (letter * 32 for letter in "abc")


def old_database(path: Path) -> Path:
    """One run, before metrics had steps."""
    with sqlite3.connect(path) as database:
        database.executescript(OLD)
        database.execute("INSERT INTO experiments VALUES (0, 'Default', './mlruns/0', 'active')")
        database.execute(
            "INSERT INTO runs VALUES (?, '', 'ann', 'FINISHED', ?, ?, 'active', './mlruns/0/x/artifacts', 0)",
            [A, START, START + 5],
        )
        database.execute("INSERT INTO tags VALUES ('mlflow.runName', 'first', ?)", [A])
        database.executemany("INSERT INTO metrics VALUES ('loss', ?, ?, ?)", [(0.5, START, A), (0.25, START + 1, A)])
    database.close()
    return path


def new_database(path: Path) -> Path:
    """Three runs of two experiments, two models."""
    (path.parent / "mlruns" / "1" / A / "artifacts").mkdir(parents=True)
    (path.parent / "mlruns" / "1" / A / "artifacts" / "notes.txt").write_text("notes")
    with sqlite3.connect(path) as database:
        database.executescript(OLD + NEW)
        database.executemany(
            "INSERT INTO experiments VALUES (?, ?, '', ?, ?)",
            [(1, "digits", "active", START), (2, "gone", "deleted", START)],
        )
        database.execute("INSERT INTO experiment_tags VALUES ('team', 'vision', 1)")
        uri = f"file:///moved/mlruns/1/{A}/artifacts"
        database.executemany(
            "INSERT INTO runs VALUES (?, ?, 'ann', ?, ?, ?, ?, ?, ?, ?)",
            [
                (A, "one", "FINISHED", START, START + 5, "active", uri, 1, None),
                (B, "two", "RUNNING", START, None, "active", "s3://bucket/1/b/artifacts", 1, None),
                (C, "three", "KILLED", START, START + 5, "deleted", "/etc", 2, START + 9),
            ],
        )
        database.executemany("INSERT INTO params VALUES (?, ?, ?)", [("lr", "0.1", A), ("long", "x" * 9000, B)])
        database.execute("INSERT INTO tags VALUES ('mlflow.parentRunId', ?, ?)", [A, B])
        database.executemany(
            "INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)",
            [
                ("loss", 0.5, START, A, 0, 0),
                ("loss", 0.0, START + 1, A, 1, 1),
                ("loss", MAX, START + 2, A, 2, 0),
                ("loss", -MAX, START + 3, A, 3, 0),
                ("acc", 0.75, START, A, 7, 0),
                ("loss", 0.5, START, B, 0, 0),
                ("loss", 0.5, START, B, 0, 0),
            ],
        )
        database.execute("INSERT INTO datasets VALUES ('d', 1, 'yelp', 'abc', 's3', 's3://x', '{}', NULL)")
        database.execute("INSERT INTO inputs VALUES ('i', 'DATASET', 'd', 'RUN', ?)", [A])
        database.execute("INSERT INTO input_tags VALUES ('i', 'mlflow.data.context', 'training')")
        database.execute("INSERT INTO registered_models VALUES ('net', ?, ?, 'the net')", [START, START + 9])
        database.execute("INSERT INTO registered_model_tags VALUES ('task', 'text', 'net')")
        database.execute("INSERT INTO registered_model_aliases VALUES ('champion', 2, 'net')")
        database.executemany(
            "INSERT INTO model_versions VALUES ('net', ?, ?, ?, NULL, 'ann', ?, ?, ?)",
            [
                (1, START, START + 1, "Production", f"file:///moved/mlruns/1/{A}/artifacts/model", A),
                (2, START + 2, START + 2, "None", "models:/m-7", B),
            ],
        )
        database.execute("INSERT INTO model_version_tags VALUES ('seen', 'yes', 'net', 1)")
        database.execute("INSERT INTO logged_models VALUES ('m-7', 1, 'net', 's3://bucket/m-7', ?, ?)", [START, B])
        database.execute("INSERT INTO logged_model_params VALUES ('m-7', 1, 'depth', '3')")
        database.execute("INSERT INTO trace_info VALUES ('t')")
    database.close()
    return path
