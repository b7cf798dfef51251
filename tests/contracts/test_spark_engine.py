"""What the Spark engine promises beyond the contract: frames, sessions, and what it needs from the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from mlwarehouse.config import load_settings
from mlwarehouse.engines.base import Txn
from mlwarehouse.engines.spark import SparkEngine
from mlwarehouse.engines.spark_jars import delta_coordinate, jars_folder, resolve_jars
from mlwarehouse.engines.spark_java import java_release, require_java
from mlwarehouse.engines.spark_session import build_session
from mlwarehouse.errors import InvalidInputError, MissingDependencyError, StorageError


@pytest.fixture
def engine(spark, tmp_path, probe):
    made = SparkEngine(spark, tmp_path / "tables")
    made.create_tables([probe])
    return made


def files(engine, spec) -> list[Path]:
    return sorted((Path(engine._embedded.tables.folder) / spec.name).glob("*.parquet"))


# Frames.


@pytest.mark.spark
def test_each_task_writes_its_file_sorted_and_one_commit_holds_them(spark, engine, probe, rows):
    frame = spark.createDataFrame(rows(40, name=[f"{i:02}" for i in reversed(range(40))])).repartition(4)
    assert engine.append(probe, frame).version == 1
    written = [pa.parquet.read_table(path).column("name").to_pylist() for path in files(engine, probe)]
    assert len(written) == 4
    assert all(part == sorted(part) for part in written)
    assert engine.query("SELECT count(DISTINCT name) AS n FROM probe").to_pylist() == [{"n": 40}]


@pytest.mark.spark
def test_a_frame_that_fails_half_way_adds_nothing(spark, engine, probe, rows):
    from pyspark.sql import functions as F

    frame = spark.createDataFrame(rows(100)).repartition(4)
    broken = frame.withColumn("long_value", F.expr("CAST(IF(writer_seq = 77, raise_error('bad row'), 1) AS BIGINT)"))
    with pytest.raises(StorageError, match=r"couldn't be computed by Spark: .*bad row") as raised:
        engine.append(probe, broken)
    assert "\n" not in str(raised.value)
    assert files(engine, probe) == []
    assert engine.version(probe) == 0


@pytest.mark.spark
def test_an_error_in_python_code_is_told_by_its_own_words(spark, engine, probe, rows):
    from pyspark.sql import functions as F

    broken = spark.createDataFrame(rows(1)).withColumn("long_value", F.udf(lambda n: 1 // n, "long")("writer_seq"))
    with pytest.raises(StorageError, match=r"ZeroDivisionError: integer division or modulo by zero$"):
        engine.append(probe, broken)


@pytest.mark.spark
def test_each_micro_batch_of_a_stream_is_committed_once(spark, engine, probe, rows, tmp_path):
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    reader = spark.readStream.schema(spark.createDataFrame(rows(1)).schema).parquet(str(incoming))
    outcomes = []

    def commit(frame, number):
        # Twice, as when a stream is restarted after a commit that it never heard of.
        outcomes.extend(engine.append(probe, frame, txns=[Txn("stream", number)]).applied for _ in range(2))

    for number in range(2):
        pa.parquet.write_table(rows(number + 1), incoming / f"{number}.parquet")
        query = (
            reader.writeStream.foreachBatch(commit)
            .option("checkpointLocation", str(tmp_path / "checkpoint"))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
    assert outcomes == [True, False, True, False]
    assert engine.query("SELECT count(*) AS n FROM probe").to_pylist() == [{"n": 3}]


# Sessions.


@pytest.mark.spark
def test_a_question_leaves_no_view_in_the_session(spark, engine, rows, probe):
    before = {t.name for t in spark.catalog.listTables()}
    engine.append(probe, rows(1))
    engine.query("SELECT * FROM probe")
    assert {t.name for t in spark.catalog.listTables()} == before


CONNECT = """
import datetime as dt
import sys, pathlib
import pyarrow as pa
from pyspark.sql import Observation, functions as F
from mlwarehouse.engines.base import Txn
from mlwarehouse.engines.spark import SparkEngine
from mlwarehouse.engines.spark_catalog import register, unregister
from mlwarehouse.engines.spark_session import build_session
from mlwarehouse.engines.spark_thrift import ThriftServer
from mlwarehouse.errors import CastError, InvalidInputError, NotFoundError, SqlError, StorageError
from mlwarehouse.models import Field, Signature, read_package, save_model
from mlwarehouse.tables import METRICS, PREDICTIONS, TABLES
from mlwarehouse.udf import Scoring, score_frame, spark_udf
from mlwarehouse.udf.shipping import Calling
from mlwarehouse.udf.streaming import What
import torch

PICKY = '''
class Picky:
    def predict(self, frame):
        if (frame["x"] < 0).any():
            raise ValueError("no negative numbers, please")
        return frame["x"] * 2
'''

root = pathlib.Path(sys.argv[1])
spark = build_session(remote="local[2]")
assert "connect" in type(spark).__module__, type(spark)
engine = SparkEngine(spark, root / "tables")
engine.create_tables(TABLES)
points = spark.sql(
    "SELECT 'r' AS run_id, 'loss' AS key, id AS step, CAST(id AS DOUBLE) AS value, 0 AS attempt, now() AS event_at, "
    "now() AS recorded_at, 'w' AS writer_id, id AS writer_seq FROM range(10)"
)
assert engine.append(METRICS, points, txns=[Txn("a", 0)]).applied
assert not engine.append(METRICS, points, txns=[Txn("a", 0)]).applied
for refused, kind in [
    (points.withColumn("step", F.col("step") + 0.5), CastError),
    (points.withColumn("step", F.expr("CAST(raise_error('bad row') AS BIGINT)")), StorageError),
]:
    try:
        engine.append(METRICS, refused)
    except kind as error:
        assert "\\n" not in str(error), error
    else:
        raise AssertionError("not refused")
question = "SELECT max(value) AS best FROM metrics WHERE key = $key"
assert engine.query(question, parameters={"key": "loss"}).to_pylist() == [{"best": 9.0}]
try:
    engine.query("SELECT nothing FROM metrics")
except SqlError as error:
    assert "nothing" in str(error)
else:
    raise AssertionError("not refused")
for _ in range(2):
    names = register(spark, root / "tables", warehouse_id="w", namespace="shown")
assert spark.sql("SELECT `max` FROM shown.metric_summaries").first()[0] == 9.0
assert {r.tableName for r in spark.sql("SHOW TABLES IN shown").collect()} == set(names)
assert spark.sql("DESCRIBE shown.metrics").first().comment == "The run."
scan = spark.sql("SELECT value FROM shown.metrics WHERE step > 100")
assert scan.inputFiles() == []
try:
    ThriftServer(spark, namespace="shown", host="127.0.0.1", port=0)
except InvalidInputError as error:
    assert "Connect" in str(error)
else:
    raise AssertionError("not refused")
unregister(spark, namespace="shown")
try:
    unregister(spark, namespace="shown")
except NotFoundError:
    pass
else:
    raise AssertionError("not refused")

signature = Signature((Field("value", "double"),), (Field("prediction", "double"),))
model = torch.nn.Linear(1, 1)
with torch.no_grad():
    model.weight.fill_(2.0)
    model.bias.fill_(1.0)
save_model(root / "m", model, init_args={"in_features": 1, "out_features": 1}, signature=signature)
for _ in range(2):
    udf = spark_udf(spark, root / "m")
assert points.select(udf("value").alias("p")).count() == 10
now = dt.datetime.now(dt.UTC)
scored = score_frame(read_package(root / "m"), points, Scoring("job", "points"), What("step"), Calling(), now=now)
added, counts = engine.append_made([PREDICTIONS], scored, txns=[Txn("job", 1)])
assert (added.n_rows, counts["n_scored"]) == (10, 10)
assert engine.query("SELECT sum(value) AS s FROM predictions").to_pylist() == [{"s": 100.0}]

(root / "picky_model.py").write_text(PICKY)
sys.path.insert(0, str(root))
import picky_model
signature = Signature((Field("x", "long"),), (Field("prediction", "long"),))
save_model(root / "picky", picky_model.Picky(), signature=signature)
udf = spark_udf(spark, root / "picky", on_error="null")
udf.register(spark, "picky")
question = "SELECT %s(x) AS p FROM VALUES (1L), (-1L), (NULL) t(x)"
assert [r.p for r in spark.sql(question % "picky").collect()] == [2, None, None]
try:
    udf.counts
except InvalidInputError as error:
    assert "on_error='return'" in str(error)
else:
    raise AssertionError("not refused")
spark_udf(spark, root / "picky", on_error="return").register(spark, "telling")
seen = Observation()
told = spark.sql(question % "telling")
told = told.observe(seen, F.count(F.lit(1)).alias("rows"), F.count("p.error").alias("errors"))
assert [r.p.prediction for r in told.collect()] == [2, None, None]
assert seen.get == {"rows": 3, "errors": 2}, seen.get
spark.stop()
print("all of it")
"""


@pytest.mark.spark
def test_a_connect_session_serves_as_a_classic_one_does(spark, tmp_path):
    # In a process of its own: one process can't hold both kinds of session.
    answer = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", CONNECT, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert answer.stdout.endswith("all of it\n")


@pytest.mark.spark
def test_the_session_runs_this_python_in_utc_and_opens_no_port_to_others(spark):
    import pyspark.sql.functions as F

    where = spark.range(1).select(F.udf(lambda _: __import__("sys").executable, "string")("id")).first()[0]
    assert Path(where) == Path(sys.executable)
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.conf.get("spark.ui.enabled") == "false"
    assert spark.conf.get("spark.driver.bindAddress") == "127.0.0.1"
    assert build_session(master="local[2]") is spark


# What it needs.


def test_a_session_is_classic_or_connect():
    with pytest.raises(InvalidInputError, match="Either `master` or `remote`"):
        build_session(master="local", remote="sc://somewhere")


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ("nothing of the kind", None),
    ],
)
def test_a_java_release_is_read_from_its_own_words(text, release):
    assert java_release(text) == release


def test_missing_old_and_broken_java_say_what_to_install(monkeypatch, tmp_path):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"no bin/java; install Java 17"):
        require_java()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    with pytest.raises(MissingDependencyError, match=r"is 11; install Java 17"):
        require_java()
    java.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(MissingDependencyError, match="doesn't run"):
        require_java()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"there is none here; install Java 17"):
        build_session(master="local")


def test_jars_are_kept_by_version_and_a_named_folder_wins(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = jars_folder()
    assert kept.is_relative_to(tmp_path)
    _, artifact, version = delta_coordinate().split(":")
    assert kept.name == f"{artifact}-{version}"
    named = tmp_path / "named"
    named.mkdir()
    settings = load_settings(spark_jars_dir=str(named))
    assert jars_folder(settings) == named
    for name in ("delta-storage-1.jar", "delta-spark_1.jar"):
        (named / name).touch()
    assert resolve_jars(settings) == [named / "delta-spark_1.jar", named / "delta-storage-1.jar"]


@pytest.mark.spark
def test_jars_that_cannot_be_fetched_say_how_to_get_them(spark, monkeypatch, tmp_path):
    # The resolver of a machine without a network: its proxy is a port where nobody listens.
    monkeypatch.setenv(
        "SPARK_SUBMIT_OPTS",
        "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=9 -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=9 "
        f"-Duser.home={tmp_path}",
    )
    folder = tmp_path / "jars"
    with pytest.raises(MissingDependencyError, match=r"couldn't be fetched into .*MLWAREHOUSE_SPARK_JARS_DIR"):
        resolve_jars(load_settings(spark_jars_dir=str(folder)))
    assert not folder.exists()
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".jars")] == []


def test_importing_the_engine_loads_no_spark():
    code = "import sys, mlwarehouse.engines.spark, mlwarehouse.engines.spark_session; print('pyspark' in sys.modules)"
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert answer.stdout.strip() == "False"
