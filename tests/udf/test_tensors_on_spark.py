"""Columns of lists and bytes in Spark, in and out."""

from __future__ import annotations

import pytest

from mlwarehouse.errors import SignatureError
from mlwarehouse.udf import spark_udf

pytestmark = pytest.mark.spark

GOOD = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def test_lists_of_lists_are_tensors_and_one_list_comes_back(spark, images):
    udf = spark_udf(spark, images.folder)
    assert udf.result_type == "array<float>"
    frame = spark.createDataFrame([(1, GOOD), (2, None), (3, GOOD[::-1])], "id int, image array<array<float>>")
    rows = frame.select("id", udf().alias("p")).orderBy("id").collect()
    assert [r.p for r in rows] == [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], None, [4.0, 5.0, 6.0, 1.0, 2.0, 3.0]]
    # A table's fractions are doubles.
    assert frame.selectExpr("CAST(image AS array<array<double>>) AS image").select(udf()).first()[0] == rows[0].p


def test_other_dimensions_are_refused_on_the_driver_and_other_lengths_are_named(spark, images):
    from pyspark.errors import PythonException

    udf = spark_udf(spark, images.folder)
    with pytest.raises(SignatureError, match=r"`image` is array<float> and the model takes array<array<float>>"):
        udf.check(spark.createDataFrame([([1.0],)], "image array<float>"))
    frame = spark.createDataFrame([(GOOD,), (GOOD[:1],)], "image array<array<float>>").coalesce(1)
    with pytest.raises(PythonException, match=r"Row \d of \d .*`image` has the shape \[1, 3\] .* takes \[2, 3\]"):
        frame.select(udf()).collect()
    rows = frame.select(spark_udf(spark, images.folder, on_error="return")().alias("p")).collect()
    assert [r.p.prediction is None for r in rows] == [False, True]


def test_bytes_and_nested_outputs_are_each_of_their_type(spark, pictures):
    udf = spark_udf(spark, pictures.folder)
    assert udf.result_type == "struct<thumbnail:binary,grid:array<array<float>>,words:array<string>>"
    frame = spark.createDataFrame([(bytearray([1, 255]),), (None,)], "picture binary")
    first, second = (r.p for r in frame.select(udf("picture").alias("p")).collect())
    assert (bytes(first.thumbnail), first.grid, first.words) == (b"\x01", [[1.0], [255.0]], ["1", "255"])
    assert tuple(second) == (None, None, None)
