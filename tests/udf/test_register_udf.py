"""Models as functions of Spark SQL, and what becomes of rows that they fail on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.models import save_model
from mlwarehouse.udf import Counts, spark_udf

pytestmark = pytest.mark.spark


@pytest.fixture
def numbers(spark):
    """A number that the model fails on, one that lacks, and 98 good ones, in two tasks."""
    return spark.createDataFrame([(i, -1 if i == 60 else None if i == 7 else i) for i in range(100)], "id int, x long")


def test_sql_calls_a_model_by_name_with_columns_or_a_struct(spark, linear):
    spark_udf(spark, linear.folder).register(spark, "linear_price")
    question = (
        "SELECT linear_price(a, b) AS c, linear_price(struct(b, a)) AS s FROM VALUES (1D, 10D), (2D, NULL) t(a, b)"
    )
    assert [tuple(r) for r in spark.sql(question).collect()] == [(33.0, 33.0), (None, None)]


def test_registering_again_replaces_and_the_other_stays_pinned(spark, linear, picky):
    spark_udf(spark, linear.folder, result_type="long").register(spark, "moving")
    spark_udf(spark, picky.folder).register(spark, "moving")
    assert spark.sql("SELECT moving(4L) AS m").first().m == 8


def test_a_model_without_a_signature_takes_what_it_is_called_with(spark, unsigned):
    spark_udf(spark, unsigned.folder, result_type="double").register(spark, "twice")
    assert spark.sql("SELECT twice(1D, 2D) AS t").first().t == 6.0


def test_what_can_not_be_registered_says_why(spark, linear):
    from pyspark.errors import PythonException

    udf = spark_udf(spark, linear.folder)
    with pytest.raises(InvalidInputError, match="can't be called `a b`"):
        udf.register(spark, "a b")
    with pytest.raises(InvalidInputError, match="has a function `SUM` of its own"):
        udf.register(spark, "SUM")
    with pytest.raises(InvalidInputError, match="one of raise, null, return; got `ignore`"):
        spark_udf(spark, linear.folder, on_error="ignore")
    udf.register(spark, "two_of_them")
    with pytest.raises(PythonException, match=r"takes 2 columns \(a, b\) and was called with 3"):
        spark.sql("SELECT two_of_them(1D, 2D, 3D)").collect()


def test_a_bad_row_fails_the_job_and_is_named(numbers, spark, picky):
    from pyspark.errors import PythonException

    with pytest.raises(PythonException, match=r"Row \d+ of \d+ that were given .*`x` = -1"):
        numbers.select(spark_udf(spark, picky.folder)("x")).collect()


def test_bad_rows_are_null_and_counted(numbers, spark, picky):
    udf = spark_udf(spark, picky.folder, on_error="null")
    assert udf.counts == Counts(0, 0, 0)
    rows = numbers.select("id", udf("x").alias("p")).collect()
    assert [(r.id, r.p) for r in rows] == [(i, None if i in (7, 60) else 2 * i) for i in range(100)]
    assert udf.counts == Counts(rows=100, lacking=1, failed=1)
    with pytest.raises(InvalidInputError, match="on_error='null'"):
        _ = spark_udf(spark, picky.folder).counts


def test_the_error_stands_beside_the_prediction_and_is_counted_by_observing(numbers, spark, picky):
    from pyspark.sql import Observation
    from pyspark.sql import functions as F

    udf = spark_udf(spark, picky.folder, on_error="return")
    assert udf.result_type == "struct<prediction:bigint,error:string>"
    seen = Observation()
    scored = numbers.select("id", udf("x").alias("p")).observe(seen, F.count("p.error").alias("errors"))
    failed = {r.id: r.p.error for r in scored.collect() if r.p.prediction is None}
    assert failed[7] == "Column `x` is null, and the model needs a value."
    assert "no negative numbers" in failed[60]
    assert seen.get == {"errors": 2} == {"errors": len(failed)}


def test_trusted_types_reach_the_workers(spark, tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]})
    model = make_pipeline(FunctionTransformer(np.nan_to_num), LinearRegression()).fit(frame, [0.0, 1.0])
    save_model(tmp_path / "m", model, input_example=frame)
    from pyspark.errors import PythonException

    data = spark.createDataFrame(frame)
    with pytest.raises(PythonException, match=r"trusted_types=\['numpy.nan_to_num'\]"):
        data.select(spark_udf(spark, tmp_path / "m")()).collect()
    udf = spark_udf(spark, tmp_path / "m", trusted_types=["numpy.nan_to_num"])
    assert [r.p for r in data.select(udf().alias("p")).collect()] == model.predict(frame).tolist()
    with pytest.raises(InvalidInputError, match="must be a list"):
        spark_udf(spark, tmp_path / "m", trusted_types="numpy.nan_to_num")
