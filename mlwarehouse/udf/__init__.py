"""Models scoring tables: Spark columns computed by a model, and predictions as rows of the `predictions` table."""

from mlwarehouse.udf.score import Scoring, score_frame, score_spark
from mlwarehouse.udf.spark_udf import ModelUdf, spark_udf

__all__ = ["ModelUdf", "Scoring", "score_frame", "score_spark", "spark_udf"]
