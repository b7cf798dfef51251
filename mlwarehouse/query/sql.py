"""Questions in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp
from sqlglot.tokenizer_core import Token

from mlwarehouse.engines.allowed_sql import TOO_DEEP
from mlwarehouse.engines.base import Reading, WatchedEngine
from mlwarehouse.engines.parse import OWN_DIALECT, known_dialect, marks_of, parse_select
from mlwarehouse.engines.render import render
from mlwarehouse.engines.running import Watch
from mlwarehouse.errors import SqlError, within_depth
from mlwarehouse.query.foreign import SPARK, mended
from mlwarehouse.query.frames import FRAME_FORMATS, check_format, to_frame
from mlwarehouse.query.marks import by_name, named_marks
from mlwarehouse.query.places import with_place

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlwarehouse.engines.spark import SparkEngine

SQL_FORMATS: tuple[str, ...] = (*FRAME_FORMATS, "batches")
"""What an answer can come as, from an engine that isn't Spark."""


@within_depth(SqlError, TOO_DEEP)
def sql(
    engine: WatchedEngine,
    reading: Reading | None,
    text: str,
    *,
    dialect: str = OWN_DIALECT,
    parameters: Mapping[str, Any] | Sequence[Any] | None = None,
    output_format: str = "pandas",
    watch: Watch | None = None,
) -> Any:
    """Answer one `SELECT` over the tables and views.

    Args:
        engine: Answers the question.
        reading: The state to look at; None means the newest committed one.
        text: The question; see `mlwarehouse.query.marks` for the marks of parameters.
        dialect: The dialect it is written in; see `mlwarehouse.engines.parse.DIALECTS`.
        parameters: A value for each mark: by name, or in order where marks have no names.
        output_format: An entry of `SQL_FORMATS`.
        watch: What to tell about its progress, and what ends it before its time.

    Returns:
        A frame with the question's columns, or a `pyarrow.RecordBatchReader`; times are UTC microseconds.

    Raises:
        SqlError: It doesn't parse, isn't a `SELECT`, names something that isn't there, can't be translated, or failed;
            the message has the place in the text.
        QueryCancelledError: It was ended before it was answered.
    """
    check_format(output_format, SQL_FORMATS)
    dialect = known_dialect(dialect)
    try:
        question, values = in_own_words(engine, text, dialect, parameters)
        if output_format == "batches":
            return engine.batches(question, reading=reading, parameters=values, watch=watch)
        rows: pa.Table = engine.query(question, reading=reading, parameters=values, watch=watch)
    except SqlError as error:
        raise SqlError(with_place(str(error), text, dialect)) from error
    return to_frame(rows, output_format)


@within_depth(SqlError, TOO_DEEP)
def spark_frame(
    engine: SparkEngine,
    reading: Reading | None,
    text: str,
    *,
    dialect: str = OWN_DIALECT,
    parameters: Mapping[str, Any] | Sequence[Any] | None = None,
) -> DataFrame:
    """Put one `SELECT` to Spark; see `sql`.

    Args:
        engine: Answers the question.
        reading: The state to look at; None means the newest committed one.
        text: The question.
        dialect: The dialect it is written in.
        parameters: A value for each mark.

    Returns:
        A `DataFrame` that is computed when it is used.

    Raises:
        SqlError: As for `sql`, or Spark has no words for it.
    """
    dialect = known_dialect(dialect)
    try:
        question, values = in_own_words(engine, text, dialect, parameters)
        return engine.frame(question, reading=reading, parameters=values)
    except SqlError as error:
        raise SqlError(with_place(str(error), text, dialect)) from error


def in_own_words(
    engine: WatchedEngine, text: str, dialect: str, parameters: Mapping[str, Any] | Sequence[Any] | None
) -> tuple[Any, Mapping[str, Any] | None]:
    """What the engine is asked, in our own dialect or as a tree of Spark's, with marks by name; and their values."""
    if dialect == OWN_DIALECT and (parameters is None or isinstance(parameters, Mapping)):
        return text, parameters
    tree, values = _read(text, dialect, parameters)
    if dialect in SPARK and engine.name == "spark":
        return tree, values
    if dialect != OWN_DIALECT:
        tree = mended(tree, dialect, engine)
    return render(tree, dialect=OWN_DIALECT), values


def _read(
    text: str, dialect: str, parameters: Mapping[str, Any] | Sequence[Any] | None
) -> tuple[exp.Query, Mapping[str, Any]]:
    """A question's tree, with marks by name, and the values by those names.

    Raises:
        SqlError: It doesn't parse, or its marks and the values don't go together.
    """
    n_positional = 0

    def rewrite(tokens: list[Token]) -> list[Token]:
        nonlocal n_positional
        tokens, n_positional = named_marks(tokens, dialect)
        return tokens

    return parse_select(text, dialect=dialect, rewrite=rewrite), by_name(n_positional, parameters)


def marks_in(text: str, dialect: str = OWN_DIALECT) -> frozenset[str]:
    """The names of a question's parameter marks.

    Raises:
        SqlError: It doesn't parse, or has marks without names.
    """
    tree, _ = _read(text, known_dialect(dialect), None)
    return marks_of(tree)
