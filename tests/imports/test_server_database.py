"""MLflow's databases that SQLAlchemy opens: PostgreSQL for real, and the same code over a SQLite file."""

from __future__ import annotations

import sqlite3
import warnings

import mlflow
import pandas as pd
import pytest
import sqlalchemy as sa
from mlflow.entities import Metric

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.imports import mlflow_db_runs, server_database

from .mlflow_database import START, A, new_database
from .postgres import Missing, server


@pytest.fixture(scope="module")
def postgres():
    """The address of an empty database on a server of PostgreSQL's."""
    try:
        with server() as address:
            yield address
    except Missing as error:
        pytest.skip(str(error))


def counts(report):
    return {name: n for name, n in report.added.items() if n}


def test_a_database_on_postgresql_answers_as_mlflow_does(warehouse, postgres, tmp_path, monkeypatch, ask):
    monkeypatch.chdir(tmp_path)
    # Not read all at once: a run in several parts, a part in several chunks.
    monkeypatch.setattr(mlflow_db_runs, "BATCH_POINTS", 40)
    monkeypatch.setattr(server_database, "FETCHED", 7)
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    before = mlflow.get_tracking_uri()
    uri = postgres.replace("postgresql:", "postgresql+psycopg:")
    with warnings.catch_warnings():
        # Of MLflow's own making.
        warnings.simplefilter("ignore")
        mlflow.set_tracking_uri(uri)
        try:
            mlflow.set_experiment("digits")
            client = mlflow.MlflowClient()
            with mlflow.start_run(run_name="parent", tags={"team": "vision"}, description="# why") as parent:
                mlflow.log_params({"lr": 0.1, "long": "x" * 400, "lines": "a\nb"})
                mlflow.log_metrics({"loss": 0.5, "a/b": float("nan")}, step=1)
                mlflow.log_metric("loss", float("inf"), step=2)
                mlflow.log_metric("loss", 0.25, step=3)
                many = [Metric("many", n / 7, START + n // 3, n % 5) for n in range(100)]
                client.log_batch(parent.info.run_id, metrics=many)
                mlflow.log_text("hi", "notes/x.txt")
                with mlflow.start_run(nested=True, run_name="child"):
                    mlflow.log_metric("acc", 1)
            with mlflow.start_run(run_name="gone") as gone:
                pass
            mlflow.delete_run(gone.info.run_id)
            client.create_registered_model("net", tags={"task": "text"})
            client.create_model_version("net", f"runs:/{parent.info.run_id}/model", parent.info.run_id)
            client.set_registered_model_alias("net", "champion", 1)
            theirs = mlflow.search_runs(experiment_names=["digits"], run_view_type=3)
            report = warehouse.import_(postgres)
            assert (report.added["points"], report.added["model_versions"], report.added["artifacts"]) == (105, 1, 1)
            assert counts(warehouse.import_(uri)) == {}
            # Points that come later and say that they are older.
            client.log_metric(parent.info.run_id, "many", -1.0, timestamp=START - 5, step=0)
            client.log_metric(parent.info.run_id, "a/b", float("nan"), timestamp=START - 5, step=0)
        finally:
            mlflow.set_tracking_uri(before)
    assert "secret" not in str(report)
    assert "secret" not in str(ask("SELECT DISTINCT writer_id FROM run_events"))
    ours = warehouse.search_runs(experiment_names=["digits"], run_view_type=3)
    columns = [c for c in theirs.columns if c != "artifact_uri"]
    pd.testing.assert_frame_equal(
        ours[columns].sort_values("run_id", ignore_index=True),
        theirs[columns].sort_values("run_id", ignore_index=True),
        check_dtype=False,
    )
    assert counts(warehouse.import_(postgres)) == {"points": 2}
    assert ask("SELECT value FROM metrics WHERE key = 'loss' AND step = 2") == [{"value": float("inf")}]
    points = ask("SELECT step, value FROM metrics WHERE key = 'many'")
    assert sorted(p["value"] for p in points) == [-1.0, *(n / 7 for n in range(100))]
    assert warehouse.get_model_version_by_alias("net", "champion").run_id == parent.info.run_id


def test_the_same_code_reads_a_file(warehouse, tmp_path, monkeypatch):
    monkeypatch.setattr(server_database, "FETCHED", 2)
    path = new_database(tmp_path / "mlflow.db")
    # Of MLflow's own, no two points of a run are alike.
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM metrics WHERE rowid = (SELECT MAX(rowid) FROM metrics)")
    database.close()
    uri = f"sqlite+pysqlite:///{path}"
    told = []
    monkeypatch.chdir(tmp_path)
    report = warehouse.import_(uri, on_progress=told.append)
    assert (report.added["points"], report.added["runs"], report.added["inputs"]) == (6, 3, 1)
    monkeypatch.setattr(mlflow_db_runs, "BATCH_POINTS", 2)
    assert counts(warehouse.import_(uri)) == {}
    # The same store read as the file that it is: the same points, told by their number.
    assert counts(warehouse.import_(path)) == {}
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO metrics VALUES ('loss', 9.0, ?, ?, -1, 0)", [START - 9, A])
    database.close()
    assert counts(warehouse.import_(uri)) == {"points": 1}


def test_names_that_are_words_of_sql_are_quoted_as_each_database_does():
    quoted = {name: sa.create_engine(f"{driver}://").dialect for name, driver in server_database.DRIVERS.items()}
    found = {name: dialect.identifier_preparer.quote_identifier("key") for name, dialect in quoted.items()}
    assert found == {"postgres": '"key"', "postgresql": '"key"', "mysql": "`key`", "mariadb": "`key`"}


@pytest.mark.parametrize("address", ["mysql://ann:secret@127.0.0.1:1/mlflow", "postgresql://ann:secret@127.0.0.1:1/x"])
def test_a_server_that_does_not_answer_is_told_without_the_password(warehouse, address):
    with pytest.raises(InvalidInputError, match="can't be opened") as refused:
        warehouse.import_(address)
    assert "secret" not in str(refused.value)
    with pytest.raises(InvalidInputError) as refused:
        warehouse.import_("postgresql://ann:secret@host:port:1/x")
    assert "secret" not in str(refused.value)


def test_another_database_is_refused(warehouse, tmp_path):
    with pytest.raises(InvalidInputError, match="isn't a database of MLflow's"):
        warehouse.import_(f"sqlite+pysqlite:///{tmp_path}/new.db")
