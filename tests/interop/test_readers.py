"""Readers that know nothing of us open the tables in place and see what we see.

The tables have all that a Delta table gets in its life: many commits, a checkpoint, merged files, commits after it.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest
from deltalake import DeltaTable

from mlwarehouse import Warehouse
from mlwarehouse.tables import TABLES

QUESTION = (
    "SELECT run_id, key, step, value, context, event_at FROM {} WHERE key IN ('loss', 'ö \"'' key') "
    "ORDER BY run_id, key, step"
)


N_BETWEEN = 11
"""Points with values from 3 to 99. (NaN is larger than all numbers for Polars and DuckDB, and isn't for pandas.)"""


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    made = Warehouse(tmp_path_factory.mktemp("readers") / "wh", committer="off", capture_code=False)
    for number in range(14):
        with made.start_run(experiment="e", run_name=f"run-{number}", tags={"odd": "ünï\tcode"}) as run:
            run.log_params({"lr": 10**-number, "text": "'; DROP TABLE x\n"})
            run.log_metric("loss", [0.1, math.nan, math.inf, -math.inf, 5e-324][number % 5], step=number)
            run.log_metric("ö \"' key", number, step=-number, context={"subset": "val"})
        made.flush()
        if number == 11:
            made.maintain()
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder(warehouse):
    """The metrics, which have been through everything."""
    found = warehouse.root / "tables" / "metrics"
    assert (found / "_delta_log" / "_last_checkpoint").exists()
    table = DeltaTable(found)
    assert len(table.file_uris()) == 3  # twelve merged into one, and two that came in since
    assert table.version() > 14
    return str(found)


@pytest.fixture(scope="module")
def ours(warehouse) -> pd.DataFrame:
    return warehouse.sql(QUESTION.format("metrics"))


def test_what_is_counted(ours):
    assert ours["value"].between(3, 99).sum() == N_BETWEEN


def same(found: pd.DataFrame, ours: pd.DataFrame) -> None:
    found = found[ours.columns.tolist()].sort_values(["run_id", "key", "step"], ignore_index=True)
    found["event_at"] = pd.to_datetime(found["event_at"], utc=True).astype(ours["event_at"].dtype)
    pd.testing.assert_frame_equal(found, ours, check_exact=True)


def test_polars(folder, ours, warehouse):
    lazy = pl.scan_delta(folder).filter(pl.col("key").is_in(["loss", "ö \"' key"]))
    same(lazy.collect().to_pandas(), ours)
    assert lazy.filter(pl.col("value").is_between(3, 99)).select(pl.len()).collect().item() == N_BETWEEN
    for spec in TABLES:
        n = pl.scan_delta(str(warehouse.root / "tables" / spec.name)).select(pl.len()).collect().item()
        assert n == warehouse.sql(f"SELECT count(*) AS n FROM {spec.name}")["n"][0], spec.name


def test_deltalake_and_pandas(folder, ours):
    table = DeltaTable(folder)
    same(table.to_pandas(filters=[("key", "in", ["loss", "ö \"' key"])]), ours)
    arrow = table.to_pyarrow_table(columns=["run_id", "key", "step", "value", "context", "event_at"])
    same(arrow.to_pandas(), ours)
    same(pd.concat(pd.read_parquet(uri) for uri in table.file_uris()), ours)
    assert DeltaTable(folder, version=1).to_pyarrow_table().num_rows == 2  # as it was


def test_duckdb_over_the_files_that_deltalake_names(folder, ours):
    dataset = DeltaTable(folder).to_pyarrow_dataset()
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        db.register("metrics", dataset)
        same(db.sql(QUESTION.format("metrics")).df(), ours)


DUCKDB = """
import json, sys
import duckdb
from duckdb_extensions import import_extension

question, between, folder, out = sys.argv[1:]
with duckdb.connect() as db:
    import_extension("delta", con=db)
    db.execute("LOAD delta")
    db.execute("SET TimeZone = 'UTC'")
    source = f"delta_scan('{folder}')"
    db.execute(f"COPY ({question.format(source)}) TO '{out}' (FORMAT parquet)")
    print(json.dumps(db.sql(between.format(source)).fetchall()))
"""


def test_duckdb_with_its_delta_extension(folder, ours, tmp_path):
    """In an environment of its own: the extension is packaged for some releases of DuckDB only."""
    project = Path(__file__).parents[2]
    uv = project / ".uv" / "bin" / "uv"
    if not uv.exists():
        pytest.skip("uv isn't in .uv, where `make setup` puts it.")
    environment = ["run", "--quiet", "--isolated", "--no-project", "--python", sys.executable]
    needs = ["--with-requirements", str(project / "lock" / "duckdb-delta.txt")]
    got = subprocess.run([uv, *environment, *needs, "true"], capture_output=True, text=True, check=False, cwd=tmp_path)
    if got.returncode:
        pytest.skip(f"DuckDB's delta extension can't be had here: {got.stderr.strip().splitlines()[-1]}")
    between = "SELECT count(*) FROM {} WHERE value BETWEEN 3 AND 99"
    out = tmp_path / "rows.parquet"
    answer = subprocess.run(
        [uv, *environment, *needs, "python", "-c", DUCKDB, QUESTION, between, folder, out],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert json.loads(answer.stdout) == [[N_BETWEEN]]
    same(pd.read_parquet(out), ours)


SPARK = """
import json, sys
sys.modules["mlwarehouse"] = None  # nothing of it can be imported
from pyspark.sql import SparkSession

folder, jars = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.jars", jars)
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "localhost")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.databricks.delta.snapshotPartitions", "2")
    .getOrCreate()
)
rows = spark.sql(
    "SELECT run_id, key, step, CAST(value AS STRING) AS value, context, unix_micros(event_at) AS event_at "
    f"FROM delta.`{folder}/metrics` ORDER BY run_id, key, step"
)
feed = spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", 1)
print(json.dumps({
    "rows": [row.asDict() for row in rows.collect()],
    "as it was": spark.read.format("delta").option("versionAsOf", 1).load(f"{folder}/metrics").count(),
    "feed": feed.load(f"{folder}/metrics").count(),
    "runs": spark.read.format("delta").load(f"{folder}/run_events").count(),
}))
spark.stop()
"""


@pytest.mark.spark
def test_spark_without_this_package(warehouse, folder, ours, tmp_path):
    from mlwarehouse.engines.spark_jars import resolve_jars
    from mlwarehouse.errors import MissingDependencyError

    try:
        jars = ",".join(str(jar) for jar in resolve_jars())
    except MissingDependencyError as error:
        pytest.skip(str(error))
    answer = subprocess.run(
        [sys.executable, "-I", "-c", SPARK, str(warehouse.root / "tables"), jars],
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
        cwd=tmp_path,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    found = json.loads(answer.stdout.splitlines()[-1])
    rows = pd.DataFrame(found["rows"])
    rows["value"] = rows["value"].astype("float64")
    rows["event_at"] = pd.to_datetime(rows["event_at"], unit="us", utc=True)
    rows["step"] = rows["step"].astype("int64")
    same(rows, ours)
    assert found["as it was"] == 2
    assert found["feed"] == len(ours)
    assert found["runs"] == warehouse.sql("SELECT count(*) AS n FROM run_events")["n"][0]
