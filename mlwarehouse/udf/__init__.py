"""Models scoring tables: Spark columns computed by a model, and predictions as rows of the `predictions` table."""

from mlwarehouse.udf.bad_rows import OnError
from mlwarehouse.udf.counting import Counts
from mlwarehouse.udf.score import Scoring
from mlwarehouse.udf.score_workers import score_files, score_frame
from mlwarehouse.udf.spark_udf import ModelUdf, spark_udf

__all__ = ["Counts", "ModelUdf", "OnError", "Scoring", "score_files", "score_frame", "spark_udf"]
