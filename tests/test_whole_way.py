"""The whole way on one small warehouse: every reader counts the same, either engine reads what the other wrote."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from mlwarehouse import Warehouse
from mlwarehouse.engines.base import Txn
from mlwarehouse.errors import DigestMismatchError, ModelError
from mlwarehouse.tables import METRICS, TABLES


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    made = Warehouse(tmp_path_factory.mktemp("whole") / "wh", capture_code=False, commit_interval_s=0.1)
    for number in range(5):
        with made.start_run(experiment=f"e{number % 2}", run_name=f"run-{number}") as run:
            run.log_params({"lr": 10**-number, "layers": number})
            for step in range(20):
                run.log_metrics({"loss": 1 / (step + 1), "acc": step / 20 + number / 100}, step=step)
    yield made
    made.close()


COUNTS = {"metrics": 200, "run_events": 10, "param_events": 10}


def test_search_sees_what_another_process_logged(warehouse):
    before = len(warehouse.search_runs())
    program = (
        "import sys, mlwarehouse as mlw; mlw.set_warehouse(sys.argv[1], capture_code=False)\n"
        "with mlw.start_run(experiment='e0', run_name='elsewhere'): mlw.log_metric('loss', 0.001, 99)"
    )
    subprocess.run([sys.executable, "-c", program, warehouse.uri], check=True, timeout=120)
    frame = warehouse.search_runs(filter_string="metrics.loss < 0.01")
    assert frame["tags.mlflow.runName"].tolist() == ["elsewhere"]
    assert len(warehouse.search_runs()) == before + 1


@pytest.mark.spark
def test_every_reader_counts_the_same(warehouse, spark):
    warehouse.register(spark, "whole_way")
    for table in (*COUNTS, "tag_events"):
        path = str(warehouse.root / "tables" / table)
        counts = {
            "pandas": int(warehouse.sql(f"SELECT count(*) AS n FROM {table}").n[0]),
            "Spark SQL": spark.sql(f"SELECT count(*) AS n FROM whole_way.{table}").collect()[0].n,
            "Spark in place": spark.read.format("delta").load(path).count(),
            "deltalake": DeltaTable(path).to_pyarrow_table().num_rows,
            "DuckDB": duckdb.sql(f"SELECT count(*) FROM read_parquet({DeltaTable(path).file_uris()})").fetchone()[0],
        }
        assert len(set(counts.values())) == 1, (table, counts)
        assert counts["pandas"] >= COUNTS.get(table, 1)
    ours = warehouse.sql("SELECT run_id, status FROM runs ORDER BY run_id")
    theirs = spark.sql("SELECT run_id, status FROM whole_way.runs ORDER BY run_id").toPandas()
    pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.spark
def test_what_spark_writes_is_read_embedded_and_the_reverse(tmp_path, spark):
    from mlwarehouse.engines.embedded import EmbeddedEngine
    from mlwarehouse.engines.spark import SparkEngine

    now = dt.datetime.now(dt.UTC)
    point = {
        "run_id": "a" * 32, "key": "x", "value": 0.5, "context": None, "attempt": 0,
        "event_at": now, "recorded_at": now, "writer_id": "w",
    }  # fmt: skip
    rows = pa.Table.from_pylist([{**point, "step": i, "writer_seq": i} for i in range(10)], METRICS.arrow_schema())
    by_spark, embedded = SparkEngine(spark, tmp_path / "tables"), EmbeddedEngine(tmp_path / "tables")
    by_spark.create_tables(TABLES)
    by_spark.append(METRICS, rows, txns=[Txn("spark", 1)])
    embedded.append(METRICS, rows, txns=[Txn("embedded", 1)])
    question = "SELECT step, count(*) AS n FROM metrics GROUP BY step ORDER BY step"
    expected = [{"step": i, "n": 2} for i in range(10)]
    assert embedded.query(question).to_pylist() == expected
    assert by_spark.query(question).to_pylist() == expected


@pytest.fixture(scope="module")
def linear(warehouse):
    """A registered model, and rows to score with the truth."""
    import torch

    torch.manual_seed(0)
    rows = pd.DataFrame({"id": [f"r{i}" for i in range(300)], "a": [i / 10 for i in range(300)], "b": 1.0})
    model = torch.nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, 0.0]]))
        model.bias.fill_(1.0)
    with warehouse.start_run(experiment="models") as run:
        logged = warehouse.log_model(
            model, init_args={"in_features": 2, "out_features": 1}, input_example=rows[["a", "b"]].head(2)
        )
    version = warehouse.register_model(logged.model_uri, "line", comment="first")
    warehouse.set_model_alias("line", "champion", version.version)
    rows["truth"] = 2 * rows["a"] + 1
    return rows, run, version


def test_a_registered_model_knows_what_it_was_made_from(warehouse, linear):
    _, run, _ = linear
    made = warehouse.register_model(f"runs:/{run.run_id}/model", "retrained", parent="models:/line@champion")
    assert made.parent == "models:/line/1"


def test_a_version_whose_files_are_on_their_way_is_not_loaded(warehouse, linear):
    _, run, _ = linear
    source, digest = f"runs:/{run.run_id}/model", None
    registry = warehouse.registry
    registry.create_model_version(
        "coming", source=source, run_id=run.run_id, digest=digest, status="PENDING_REGISTRATION"
    )
    with pytest.raises(ModelError, match="PENDING_REGISTRATION"):
        warehouse.load_model("models:/coming/1")
    registry.set_model_version_status("coming", 1, "READY")
    assert warehouse.load_model("models:/coming/1") is not None


def test_a_model_is_registered_found_loaded_and_scores(warehouse, linear):
    import torch

    rows, run, version = linear
    assert (version.version, version.run_id) == (1, run.run_id)
    model = warehouse.load_model("models:/line@champion")
    assert model(torch.tensor([[3.0, 1.0]])).item() == pytest.approx(7.0)
    scored = warehouse.score(rows, "models:/line@champion", key="id", dataset="lines", source_id="once")
    again = warehouse.score(rows, "models:/line@champion", key="id", dataset="lines", source_id="once")
    assert (scored.n_rows, again.n_rows, scored.model_uri) == (300, 0, "models:/line/1")
    assert warehouse.log_labels(rows, dataset="lines", key="id", label="truth") == 300
    quality = warehouse.sql(
        "SELECT count(*) AS n, max(abs(p.value - l.value)) AS worst FROM predictions AS p "
        "JOIN labels AS l USING (dataset, row_key, output) WHERE p.model_name = 'line' AND p.dataset = 'lines'"
    )
    assert int(quality.n[0]) == 300
    assert quality.worst[0] < 1e-4
    audit = warehouse.sql("SELECT action, outcome FROM audit WHERE action = 'set_model_alias'")
    assert audit.outcome.tolist() == ["allowed"]


@pytest.mark.spark
def test_spark_scores_the_same(warehouse, linear, spark, tmp_path):
    rows, _, _ = linear
    rows.to_parquet(tmp_path / "rows.parquet")
    frame = spark.read.parquet(str(tmp_path / "rows.parquet"))
    udf = warehouse.spark_udf(spark, "models:/line@champion")
    predicted = frame.withColumn("p", udf("a", "b")).select("id", "p").toPandas().set_index("id")["p"]
    expected = rows.set_index("id")["truth"]
    assert (predicted - expected).abs().max() < 1e-4
    scored = warehouse.score(frame, "models:/line@champion", key="id", dataset="by-spark", source_id="spark-once")
    again = warehouse.score(frame, "models:/line@champion", key="id", dataset="by-spark", source_id="spark-once")
    assert (scored.n_rows, again.n_rows) == (300, 0)
    table = warehouse.sql("SELECT row_key, value, model_version FROM predictions WHERE dataset = 'by-spark'")
    assert len(table) == table.row_key.nunique() == 300
    assert (table.set_index("row_key")["value"] - expected).abs().max() < 1e-4


def test_a_version_loads_only_the_bytes_it_was_registered_with(warehouse, tmp_path):
    import torch

    def log(run):
        return warehouse.log_model(
            torch.nn.Linear(2, 1), init_args={"in_features": 2, "out_features": 1}, run=run
        ).model_uri

    with warehouse.start_run(experiment="models") as run:
        warehouse.register_model(log(run), "swapped")
        log(run)
    with pytest.raises(DigestMismatchError, match="logged anew after it was registered"):
        warehouse.load_model("models:/swapped/1")


def test_scoring_a_delta_table_twice_adds_nothing(warehouse, linear, tmp_path):
    from deltalake import write_deltalake

    rows, _, _ = linear
    write_deltalake(tmp_path / "delta", pa.Table.from_pandas(rows, preserve_index=False))
    first = warehouse.score(tmp_path / "delta", "models:/line/1", key="id", dataset="delta")
    again = warehouse.score(tmp_path / "delta", "models:/line/1", key="id", dataset="delta")
    assert (first.n_rows, again.n_rows) == (300, 0)
    stored = warehouse.sql("SELECT DISTINCT input_table, input_version FROM predictions WHERE dataset = 'delta'")
    assert stored.to_dict("records") == [{"input_table": str(tmp_path / "delta"), "input_version": 0}]
