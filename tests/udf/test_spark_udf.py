"""Models as Spark columns, and Spark predictions as rows."""

from __future__ import annotations

import datetime as dt
import math

import pytest

from mlwarehouse.engines.base import Txn
from mlwarehouse.engines.spark import SparkEngine
from mlwarehouse.errors import InvalidInputError, SignatureError
from mlwarehouse.tables import PREDICTIONS
from mlwarehouse.udf import Scoring, score_frame, spark_udf
from mlwarehouse.udf.shipping import Calling
from mlwarehouse.udf.streaming import What
from tests.udf.local import scored

pytestmark = pytest.mark.spark

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
SCORING = Scoring("job-1", "houses", "prices", 3)


@pytest.fixture
def houses(spark):
    """Three houses, the last without a `b`."""
    return spark.createDataFrame([("x", 1.0, 0.0), ("y", 2.0, 1.0), ("z", 3.0, None)], "id string, a double, b double")


def test_one_output_is_a_column_of_its_type(spark, houses, linear):
    udf = spark_udf(spark, linear.folder)
    assert (udf.result_type, udf.digest) == ("double", linear.digest)
    frame = houses.withColumn("p", udf("a", "b"))
    assert dict(frame.dtypes)["p"] == "double"
    assert [r.p for r in frame.orderBy("id").collect()] == [3.0, 8.0, None]


def test_columns_can_be_named_in_any_way(spark, linear):
    from pyspark.sql import functions as F

    udf = spark_udf(spark, linear.folder)
    frame = spark.createDataFrame([(10.0, 1.0, 5)], "b double, a double, n int")
    row = frame.select(
        udf().alias("signature"),
        udf("b", "a").alias("names"),
        udf(F.col("a"), F.col("b") * 2).alias("order"),
        udf(F.struct("b", "a")).alias("struct"),
    ).first()
    assert tuple(row) == (33.0, 33.0, 63.0, 33.0)


def test_several_outputs_are_a_struct(spark, labels):
    udf = spark_udf(spark, labels.folder)
    frame = spark.createDataFrame([("abcd",), (None,), ("a",)], "text string").withColumn("p", udf("text"))
    rows = [r.p for r in frame.collect()]
    assert rows[0].asDict() == {"label": "long", "score": 4.0, "is_long": True, "parts": [4.0, 8.0]}
    assert rows[1] is None or all(v is None for v in rows[1])
    assert (rows[2].label, rows[2].parts) == ("short", [1.0, 2.0])


def test_the_result_type_can_be_chosen(spark, houses, labels, linear):
    assert [
        r.p for r in houses.select(spark_udf(spark, linear.folder, result_type="long")("a", "b").alias("p")).collect()
    ] == [3, 8, None]
    udf = spark_udf(spark, labels.folder, result_type="struct<score: float>")
    row = spark.createDataFrame([("ab",)], "text string").select(udf().alias("p")).first()
    assert row.p.asDict() == {"score": 2.0}


def test_nan_goes_to_the_model_and_null_does_not(spark, linear):
    frame = spark.createDataFrame([(1, math.nan, 1.0), (2, None, 1.0)], "id int, a double, b double")
    rows = frame.select("id", spark_udf(spark, linear.folder)().alias("p")).orderBy("id").collect()
    assert math.isnan(rows[0].p)
    assert rows[1].p is None


def test_a_worker_loads_the_model_once_and_uses_one_thread(spark, whereabouts):
    udf = spark_udf(spark, whereabouts.folder, batch_rows=100)
    frame = spark.range(0, 30_000, numPartitions=6).withColumnRenamed("id", "x").select(udf().alias("p")).select("p.*")
    rows = frame.distinct().collect()
    models: dict[int, set[int]] = {}
    for row in rows:
        models.setdefault(row.process, set()).add(row.model)
    assert all(len(made) == 1 for made in models.values())
    assert {r.threads for r in rows} == {1}
    assert {r.grad for r in rows} == {False}
    assert {r.rows for r in rows} == {100}


def test_a_model_without_a_signature_needs_a_result_type(spark, unsigned):
    with pytest.raises(SignatureError, match="give `result_type`"):
        spark_udf(spark, unsigned.folder)
    udf = spark_udf(spark, unsigned.folder, result_type="double")
    frame = spark.createDataFrame([(1.0, 2.0), (None, 1.0)], "p double, q double")
    assert [r.y for r in frame.select(udf("p", "q").alias("y")).collect()] == [6.0, None]
    with pytest.raises(SignatureError, match="say which columns"):
        udf()


def test_what_does_not_fit_is_refused_on_the_driver(spark, houses, linear):
    udf = spark_udf(spark, linear.folder)
    udf.check(houses)
    with pytest.raises(SignatureError, match="Column `a` is string"):
        udf.check(houses.withColumn("a", houses.id))
    with pytest.raises(SignatureError, match="needs a column `b`"):
        udf.check(houses.drop("b"))
    with pytest.raises(SignatureError, match="takes 2 columns"):
        udf("a", "b", "id")
    with pytest.raises(InvalidInputError, match="`doubl` isn't a type"):
        spark_udf(spark, linear.folder, result_type="doubl")
    with pytest.raises(InvalidInputError, match="at least one row"):
        spark_udf(spark, linear.folder, batch_rows=0)


def test_a_wrong_type_that_only_a_worker_sees_is_named(spark, houses, linear):
    from pyspark.errors import PythonException

    with pytest.raises(PythonException, match="Column `a` is string and the model takes double"):
        houses.select(spark_udf(spark, linear.folder)("id", "b")).collect()


@pytest.mark.parametrize("package", ["linear", "labels"])
def test_spark_and_this_machine_predict_the_same_rows(spark, request, package, tmp_path):
    model = request.getfixturevalue(package)
    columns = {
        "linear": ([("x", 1.0, 0.5), ("y", None, 1.0), ("z", 3.0, -2.0)], "id string, a double, b double"),
        "labels": ([("x", "abcd"), ("y", None), ("z", "a")], "id string, text string"),
    }[package]
    frame = spark.createDataFrame(*columns)
    local = scored(frame.toPandas(), model, scoring=SCORING).cast(PREDICTIONS.arrow_schema())
    engine = SparkEngine(spark, tmp_path / "tables")
    engine.create_tables([PREDICTIONS])
    engine.append_made([PREDICTIONS], score_frame(model, frame, SCORING, What("id"), Calling(), now=NOON))
    remote = engine.query("SELECT * FROM predictions")
    order = [("row_key", "ascending"), ("output", "ascending")]
    shared = [name for name in PREDICTIONS.arrow_schema().names if name not in ("writer_seq", "latency_us")]
    assert remote.select(shared).sort_by(order).to_pylist() == local.select(shared).sort_by(order).to_pylist()


def test_a_scoring_is_committed_once_and_each_row_predicted_once(spark, labels, tmp_path):
    engine = SparkEngine(spark, tmp_path / "tables")
    engine.create_tables([PREDICTIONS])
    texts = spark.createDataFrame([(str(i), "ab" * i) for i in range(50)], "id string, text string").repartition(3)
    made = score_frame(labels, texts, SCORING, What("id"), Calling(), now=NOON)
    for applied in (True, False):
        outcome, counts = engine.append_made([PREDICTIONS], made, txns=[Txn(SCORING.source_id, 1)])
        assert (outcome.applied, outcome.n_rows) == (applied, 200 if applied else 0)
        assert counts.get("n_scored", 0) == (50 if applied else 0)
    answer = engine.query(
        "SELECT count(*) AS n, count(DISTINCT row_key) AS keys, count(DISTINCT writer_seq) AS seqs, "
        "sum(value) AS total FROM predictions"
    )
    # The model's `score` is the length, and `is_long` is 1 from the second row on.
    assert answer.to_pylist() == [
        {"n": 200, "keys": 50, "seqs": 50, "total": float(sum(2 * i for i in range(50)) + 48)}
    ]
