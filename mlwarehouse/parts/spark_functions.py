"""The part of a warehouse that makes its models functions of Spark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlwarehouse.parts.packaging import Packaging

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from mlwarehouse.udf import ModelUdf, OnError


class SparkFunctions(Packaging):
    """Models as functions of Spark columns, and of Spark SQL."""

    def spark_udf(
        self,
        spark: SparkSession,
        model_uri: str,
        *,
        result_type: str | None = None,
        batch_rows: int | None = None,
        on_error: OnError = "raise",
        allow_pickle: bool = False,
        trusted_types: Sequence[str] = (),
    ) -> ModelUdf:
        """A model as a function of Spark columns: ``df.withColumn("p", udf("text"))``.

        The version is pinned here, so every worker runs the same bytes, also when the alias moves.

        Args:
            spark: The session; classic or Connect.
            model_uri: As for `find_model`.
            result_type: What a call gives, in Spark's words; None means by the signature.
            batch_rows: The most rows to give to the model at once.
            on_error: What becomes of a row that the model fails on: ``raise`` fails the job and says which row it is;
                with ``null`` its prediction is null, and `ModelUdf.counts` tells how many there were; with ``return``
                a call gives a struct of ``prediction`` and ``error``.
            allow_pickle: Whether loading it may run a pickle.
            trusted_types: Further types that a scikit-learn model may be made of, see `load_model`.

        Raises:
            NotFoundError: No model is there.
            SignatureError: The signature names no outputs and no `result_type` is given.
            InvalidInputError: An option is none that there is.
        """
        from mlwarehouse.udf import spark_udf

        return spark_udf(
            spark,
            self.find_model(model_uri).folder,
            result_type=result_type,
            batch_rows=batch_rows,
            on_error=on_error,
            allow_pickle=allow_pickle,
            trusted_types=trusted_types,
        )

    def register_udf(
        self,
        spark: SparkSession,
        name: str,
        model_uri: str,
        *,
        result_type: str | None = None,
        batch_rows: int | None = None,
        on_error: OnError = "raise",
        allow_pickle: bool = False,
        trusted_types: Sequence[str] = (),
    ) -> ModelUdf:
        """A model as a function of Spark SQL: ``SELECT sentiment(text) FROM reviews``.

        It is known to this session. It takes the columns of the signature in their order, or a struct of them by name.
        Registering a name again replaces what it was, such as after an alias has moved: the version is pinned here.

        Args:
            spark: The session; classic or Connect.
            name: The function's name.
            model_uri: As for `find_model`.
            result_type: As for `spark_udf`.
            batch_rows: As for `spark_udf`.
            on_error: As for `spark_udf`.
            allow_pickle: As for `spark_udf`.
            trusted_types: As for `spark_udf`.

        Returns:
            The same function, for columns.

        Raises:
            NotFoundError: No model is there.
            SignatureError: The signature names no outputs and no `result_type` is given.
            InvalidInputError: The name can't be one, or Spark has a function of that name; or an option is none that
                there is.
        """
        udf = self.spark_udf(
            spark,
            model_uri,
            result_type=result_type,
            batch_rows=batch_rows,
            on_error=on_error,
            allow_pickle=allow_pickle,
            trusted_types=trusted_types,
        )
        udf.register(spark, name)
        return udf
