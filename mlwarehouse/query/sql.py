"""Questions in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.engines.parse import OWN_DIALECT, parse_select
from mlwarehouse.engines.render import render
from mlwarehouse.query.frames import FRAME_FORMATS, check_format, to_frame


def sql(
    engine: Engine,
    reading: Reading | None,
    text: str,
    *,
    dialect: str = OWN_DIALECT,
    parameters: Mapping[str, Any] | None = None,
    output_format: str = "pandas",
) -> Any:
    """Answer one `SELECT` over the tables and views.

    Args:
        engine: Answers the question.
        reading: The state to look at; None means the newest committed one.
        text: The question; ``$name`` marks a parameter (in other dialects as they write it, such as ``:name``).
        dialect: The dialect it is written in: DuckDB's, or any other that sqlglot reads.
        parameters: A value for each mark.
        output_format: ``pandas``, ``arrow`` or ``polars``.

    Returns:
        A frame with the question's columns; times are UTC microseconds.

    Raises:
        SqlError: It doesn't parse, isn't a `SELECT`, names something that isn't there, or failed.
    """
    check_format(output_format, FRAME_FORMATS)
    if dialect != OWN_DIALECT:
        text = render(parse_select(text, dialect=dialect), dialect=OWN_DIALECT)
    return to_frame(engine.query(text, reading=reading, parameters=parameters), output_format)
