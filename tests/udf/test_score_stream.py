"""Streams scored exactly once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import InvalidInputError, SignatureError

pytestmark = pytest.mark.spark

SCHEMA = "id string, a double, b double"
KILLED = """
import os, signal, sys
from mlwarehouse import Warehouse
from mlwarehouse.engines.spark import SparkEngine
from mlwarehouse.engines.spark_session import build_session

root, model = sys.argv[1:]
spark = build_session(master="local[2]")
append, done = SparkEngine.append_made, []

def append_and_die(*arguments, **more):
    outcome = append(*arguments, **more)
    done.append(outcome)
    if len(done) == 2:
        # Committed, and Spark doesn't know yet that the batch is done.
        os.kill(os.getpid(), signal.SIGKILL)
    return outcome

SparkEngine.append_made = append_and_die
stream = spark.readStream.schema("id string, a double, b double").option("maxFilesPerTrigger", 1).parquet(root + "/in")
warehouse = Warehouse(root + "/wh", committer="off", capture_code=False)
warehouse.score_stream(stream, model, key="id", dataset="live", checkpoint=root + "/checkpoint").awaitTermination()
"""


def incoming(spark, folder: Path, number: int) -> None:
    """One file of ten rows."""
    rows = [(f"{number}-{i}", float(i), None if i == 7 else 0.0) for i in range(10)]
    spark.createDataFrame(rows, SCHEMA).coalesce(1).write.mode("append").parquet(str(folder))


def test_a_stream_that_is_killed_and_started_again_scores_each_row_once(spark, linear, tmp_path):
    folder = tmp_path / "in"
    for number in range(3):
        incoming(spark, folder, number)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(linear.folder)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    question = "SELECT count(*) AS n, count(DISTINCT row_key) AS k, sum(value) AS s FROM predictions"
    assert warehouse.sql(question, output_format="arrow").to_pylist() == [{"n": 20, "k": 20, "s": 2 * 85.0}]
    # Spark knows of the first batch only, and so repeats the second one.
    assert {p.name for p in (tmp_path / "checkpoint" / "commits").glob("[0-9]*")} == {"0"}
    stream = spark.readStream.schema(SCHEMA).option("maxFilesPerTrigger", 1).parquet(str(folder))

    def go_on() -> list[dict[str, float]]:
        warehouse.score_stream(
            stream,
            str(linear.folder),
            key="id",
            dataset="live",
            checkpoint=tmp_path / "checkpoint",
            trigger={"availableNow": True},
        ).awaitTermination()
        return warehouse.sql(question, output_format="arrow").to_pylist()

    assert go_on() == [{"n": 30, "k": 30, "s": 3 * 85.0}]
    incoming(spark, folder, 3)
    assert go_on() == [{"n": 40, "k": 40, "s": 4 * 85.0}]
    warehouse.close()


def test_what_can_not_be_streamed_says_why(spark, linear, tmp_path):
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    warehouse.create()
    (tmp_path / "in").mkdir()
    stream = spark.readStream.schema(SCHEMA).parquet(str(tmp_path / "in"))
    good = {"key": "id", "dataset": "live", "checkpoint": tmp_path / "c"}
    model = str(linear.folder)
    for frame, changed, kind, told in [
        (spark.range(1), {}, InvalidInputError, "isn't a stream"),
        (stream, {"key": "ids"}, InvalidInputError, "no column `ids`.*Did you mean `id`"),
        (stream, {"checkpoint": "s3://bucket/c"}, InvalidInputError, "folder that this machine sees"),
        (stream.drop("b"), {}, SignatureError, "needs a column `b`"),
    ]:
        with pytest.raises(kind, match=told):
            warehouse.score_stream(frame, model, **{**good, **changed})
    assert not (tmp_path / "c").exists()
    warehouse.close()
