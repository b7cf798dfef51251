"""A model as a function of Spark columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlwarehouse.errors import InvalidInputError, SignatureError
from mlwarehouse.models import Signature, known_types, read_package
from mlwarehouse.udf.bad_rows import ON_ERROR, OnError
from mlwarehouse.udf.counting import Counters, Counts, counters_of, read_counts
from mlwarehouse.udf.predicting import predict_batches
from mlwarehouse.udf.shipping import Calling, on_worker, ship

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import DataType

_SPARK_NAMES = {
    "string": "string",
    "long": "bigint",
    "integer": "int",
    "double": "double",
    "float": "float",
    "boolean": "boolean",
    "binary": "binary",
}


class ModelUdf:
    """A model to call with columns: ``df.withColumn("p", udf("text"))``. `spark_udf` makes it.

    Attributes:
        signature: The columns it takes and gives, or None.
        digest: The digest of the model package.
        result_type: What a call gives, in Spark's words, such as ``double`` or ``struct<label:string,score:double>``.
    """

    def __init__(
        self,
        signature: Signature | None,
        digest: str,
        result_type: DataType,
        calling: Calling,
        counters: Counters | None = None,
    ) -> None:
        """Wrap a package that has been sent to the session's executors."""
        self.signature = signature
        self.digest = digest
        self.result_type = result_type.simpleString()
        self._spark_type = result_type
        self._calling = calling
        self._counters = counters

    def __call__(self, *columns: str | Column) -> Column:
        """The model's prediction for each row.

        A row with a null in a column that the model requires gets null; NaN is a value and goes to the model.

        Args:
            *columns: None: the columns that the signature names. Names that are the signature's: in any order. Else
                one for each input, in the signature's order, or a single struct with the inputs as its fields.

        Returns:
            A column of `result_type`.

        Raises:
            SignatureError: More or fewer columns than the model takes.
        """
        names, arguments = self._named(columns)
        column: Column = self._function(names)(*arguments)
        return column

    def register(self, spark: SparkSession, name: str) -> None:
        """Have a session's SQL know it by name; `register_udf` does it for an address.

        Raises:
            InvalidInputError: The name isn't one word, or is that of a function of Spark's own.
        """
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise InvalidInputError(f"A function of Spark SQL can't be called `{name}`; use letters, digits and `_`.")
        if spark.sql(f"SHOW SYSTEM FUNCTIONS LIKE '{name}'").count():
            raise InvalidInputError(f"Spark SQL has a function `{name}` of its own; choose another name.")
        names = tuple(f.name for f in self.signature.inputs) if self.signature is not None else ()
        spark.udf.register(name, self._function(names))

    @property
    def counts(self) -> Counts:
        """What became of the rows of all calls so far; tasks that were tried again count again.

        Raises:
            InvalidInputError: `on_error` isn't ``null``, or the session is one of Spark Connect; it says what to do
                instead.
        """
        return read_counts(self._counters)

    def check(self, frame: DataFrame) -> None:
        """Check that a frame has the model's columns, by name and type, without starting a job.

        Raises:
            SignatureError: A column is missing, or has a type that the model doesn't take.
        """
        if self.signature is not None:
            self.signature.check({f.name: f.dataType.simpleString() for f in frame.schema.fields})

    def _function(self, names: tuple[str, ...]) -> Any:
        """Spark's function; `names` are those of its columns, and none means that they are as many as come."""
        from pyspark.sql.pandas.functions import arrow_udf

        digest, calling, counters = self.digest, self._calling, self._counters
        arrow_type = _arrow_type(self._spark_type)

        def predict(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
            model = on_worker(digest, calling)
            # Spark gives the bare column where there is but one.
            tuples = (batch if isinstance(batch, tuple) else (batch,) for batch in batches)
            yield from predict_batches(
                model.predictor,
                tuples,
                names,
                arrow_type,
                size=model.size,
                on_error=calling.on_error,
                count=counters,
            )

        # The hints tell Spark the kind of function; it can't look up names that a function made here has as text.
        predict.__annotations__ = {"batches": Iterator[tuple[pa.Array, ...]], "return": Iterator[pa.Array]}
        make: Any = arrow_udf  # whose own hints know no iterator of several columns that gives a struct
        return make(predict, self._spark_type)

    def _named(self, columns: tuple[str | Column, ...]) -> tuple[tuple[str, ...], tuple[str | Column, ...]]:
        """The names under which the model gets the columns, and the columns."""
        if self.signature is None:
            if not columns:
                raise SignatureError("The model has no signature, so say which columns it is to be called with.")
            names = tuple(c if isinstance(c, str) else f"input_{i}" for i, c in enumerate(columns))
            return names, columns
        inputs = tuple(f.name for f in self.signature.inputs)
        if not columns:
            return inputs, tuple(quoted(name) for name in inputs)
        if all(isinstance(c, str) for c in columns) and set(columns) == set(inputs):
            return tuple(str(c) for c in columns), columns
        if len(columns) == len(inputs) or len(columns) == 1:
            return inputs[: len(columns)], columns
        raise SignatureError(
            f"The model takes {len(inputs)} columns ({', '.join(inputs)}) and was called with {len(columns)}."
        )


def spark_udf(
    spark: SparkSession,
    folder: Path,
    *,
    result_type: str | None = None,
    batch_rows: int | None = None,
    on_error: OnError = "raise",
    allow_pickle: bool = False,
    trusted_types: Sequence[str] = (),
) -> ModelUdf:
    """Make a model a function of Spark columns, on classic and Connect sessions, in batch and streaming queries.

    The package is checked here, sent once to each executor, and loaded once by each Python worker, which must have
    mlwarehouse and the model's library. A task computes with as many threads as it has cores (``spark.task.cpus``), and
    on its GPU where Spark gave it one.

    Args:
        spark: The session.
        folder: The model package, on this machine.
        result_type: What a call gives, in Spark's words; by default the type of the model's one output, or a struct
            of its outputs. A type that isn't a struct takes the first output.
        batch_rows: At most so many rows are given to the model at once; by default as many as it answers in a second,
            and as have 64 MiB, of those that Spark sends: ``spark.sql.execution.arrow.maxRecordsPerBatch``.
        on_error: What becomes of a row that the model fails on, once it has been found among those that came with it:
            ``raise`` fails the job and says which row it is; with ``null`` its prediction is null, and
            `ModelUdf.counts` tells how many there were; with ``return`` a call gives a struct of ``prediction`` and
            ``error``, a text that says why there is no prediction.
        allow_pickle: Whether loading the model may run a pickle.
        trusted_types: Further types that a scikit-learn model may be made of, see `load_model`.

    Returns:
        The function.

    Raises:
        SignatureError: The package's signature names no outputs, and no `result_type` is given.
        InvalidInputError: `result_type` isn't a type of Spark's, `batch_rows` isn't positive, `on_error` is none of
            these, or `trusted_types` is one text and no list.
        ModelError: The package can't be read.
    """
    from mlwarehouse.engines.spark_errors import reason, spark_failures

    if batch_rows is not None and batch_rows < 1:
        raise InvalidInputError(f"`batch_rows` is {batch_rows}; at least one row must be given to the model at once.")
    if on_error not in ON_ERROR:
        raise InvalidInputError(f"`on_error` is one of {', '.join(ON_ERROR)}; got `{on_error}`.")
    package = read_package(folder)
    text = result_type or _result_type(package.signature)
    if on_error == "return":
        text = f"struct<prediction: {text}, error: string>"
    try:
        from pyspark.sql.types import DataType

        parsed = DataType.fromDDL(text)
    except spark_failures() as error:
        raise InvalidInputError(f"`{text}` isn't a type that Spark knows: {reason(error)}") from error
    _arrow_type(parsed)
    calling = Calling(allow_pickle, known_types(trusted_types), batch_rows, on_error)
    ship(spark, package)
    return ModelUdf(
        package.signature, package.digest, parsed, calling, counters_of(spark) if on_error == "null" else None
    )


def quoted(name: str) -> str:
    """A column's name as Spark's functions take it, whatever characters it holds."""
    return "`" + name.replace("`", "``") + "`"


def _result_type(signature: Signature | None) -> str:
    outputs = signature.outputs if signature is not None else ()
    if not outputs:
        raise SignatureError(
            "The model's signature names no outputs, so Spark can't be told their type; give `result_type`, such as "
            "`double`, or save the model with an input example."
        )
    types = ["array<" * f.dims + _SPARK_NAMES[f.type] + ">" * f.dims for f in outputs]
    if len(outputs) == 1:
        return types[0]
    fields = (f"{quoted(f.name)}: {t}" for f, t in zip(outputs, types, strict=True))
    return f"struct<{', '.join(fields)}>"


def _arrow_type(spark_type: DataType) -> Any:
    from pyspark.sql.pandas.types import to_arrow_type

    from mlwarehouse.engines.spark_errors import reason, spark_failures

    try:
        return to_arrow_type(spark_type, timezone="UTC")
    except spark_failures() as error:
        raise InvalidInputError(
            f"A prediction can't be given as `{spark_type.simpleString()}`: {reason(error)}"
        ) from error
