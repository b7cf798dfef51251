"""What can be scored: rows by whatever name they have, read in parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import InvalidInputError, NotFoundError, did_you_mean
from mlwarehouse.parts.asking import Asking
from mlwarehouse.tables import TABLES_BY_NAME
from mlwarehouse.tables.views import REPORTS, VIEWS

if TYPE_CHECKING:
    import pyarrow as pa

Read = Callable[["Sequence[str] | None", int, "Mapping[str, pa.DataType]"], "Iterator[pa.RecordBatch]"]
"""Reads only some columns (all when None), at most so many rows at once, with the types that columns of text files are
read as."""

_NAMES = frozenset({*TABLES_BY_NAME, *VIEWS, *REPORTS})
_SQL = re.compile(r"\s*(?:SELECT|WITH|FROM)\s", re.IGNORECASE)


@dataclass(frozen=True)
class Scorable:
    """Rows to score.

    Attributes:
        schema: Their columns.
        n_rows: How many there are; None where only reading tells.
        read: Reads them, once.
        name: What they are called, or None: a path, a table, or a question.
        version: The Delta table's version, where they are one's.
        state: What names them for ever, so that they aren't scored twice; None where nothing does.
    """

    schema: pa.Schema
    n_rows: int | None
    read: Read
    name: str | None = None
    version: int | None = None
    state: str | None = None


def is_question(data: Any) -> bool:
    """Whether a text is a question or the name of a table or view, and no path."""
    return isinstance(data, str) and (bool(_SQL.match(data)) or data in _NAMES)


def question_of(data: str, columns: Sequence[str] | None = None) -> str:
    """A question as SQL; of a table or view, for some columns."""
    if _SQL.match(data):
        return data
    listed = "*" if columns is None else ", ".join('"' + c.replace('"', '""') + '"' for c in columns)
    return f"SELECT {listed} FROM {data}"


def state_of(name: str | None, version: int | None, at: Any = None) -> str | None:
    """What names rows for ever: a table's version, or a question at a snapshot; None where nothing does."""
    if version is not None:
        return f"{name} version {version}"
    return None if name is None or at is None else f"{name} at {at}"


def scorable(asking: Asking, data: Any, at: Any) -> Scorable:
    """Look at rows to score; they aren't read yet.

    Args:
        asking: The warehouse that questions are asked of.
        data: See `Predicting.score`.
        at: See `Predicting.score`.

    Raises:
        NotFoundError: Nothing is there.
        SqlError: A question that can't be asked.
        InvalidInputError: It can't be meant.
    """
    if is_question(data):
        return _asked(asking, data, at)
    if isinstance(data, str | Path):
        if not Path(data).exists():
            meant = did_you_mean(str(data), _NAMES)
            raise NotFoundError(f"The table `{data}` can't be read: there is no such file or folder.{meant}")
        return _file(Path(data).resolve(), at)
    if at is not None:
        raise InvalidInputError("`at` names the version of a table, and a frame has none; leave it out.")
    return _frame(data)


def _asked(asking: Asking, data: str, at: Any) -> Scorable:
    spec = TABLES_BY_NAME.get(data)
    version = None
    if isinstance(at, int) and spec is None:
        raise InvalidInputError(f"`at` is the version {at}, and `{data}` isn't a table of events; give a snapshot.")
    if spec is not None and not (at is None or isinstance(at, int)):
        version = asking.reading(at=at).versions.get(spec.name)
    elif spec is not None:
        newest = asking.engine().version(spec)
        version = newest if at is None else at
        if not 0 <= version <= newest:
            raise InvalidInputError(f"`at` is {at!r}; the table `{data}` has versions 0 to {newest}.")
    if spec is not None and version is not None:
        from mlwarehouse.engines.base import Reading

        # By its version alone: what is logged and not yet committed belongs to none.
        reading = Reading(versions={spec.name: version})
        engine = asking.engine()
        of_table = spec.arrow_schema()

        def read_table(columns: Sequence[str] | None, rows: int, _: Any) -> Iterator[pa.RecordBatch]:
            yield from engine.batches(question_of(data, columns), reading=reading, batch_rows=rows)

        n_rows = engine.query(f"SELECT count(*) AS n FROM {data}", reading=reading).column("n")[0].as_py()
        return Scorable(of_table, n_rows, read_table, data, version, state_of(data, version))
    answer: pa.RecordBatchReader = asking.sql(question_of(data), at=at, output_format="batches")

    def read_answer(columns: Sequence[str] | None, *_: Any) -> Iterator[pa.RecordBatch]:
        for batch in answer:
            yield batch if columns is None else batch.select(columns)

    return Scorable(answer.schema, None, read_answer, data, None, state_of(data, None, at))


def _file(path: Path, at: Any) -> Scorable:
    from mlwarehouse.engines.embedded_files import open_file

    found = open_file(path, at=at)
    state = state_of(str(path), found.version)
    return Scorable(found.schema, found.n_rows, found.batches, str(path), found.version, state)


def _frame(data: Any) -> Scorable:
    import pandas as pd
    import pyarrow as pa

    if isinstance(data, pd.DataFrame):
        data = pa.Table.from_pandas(data, preserve_index=False)
    if not hasattr(data, "__arrow_c_stream__"):
        raise InvalidInputError(
            "Rows to score are a pandas, Polars or Arrow table, a DuckDB relation, a path, a table's name or SQL; got "
            f"{type(data).__name__}."
        )
    # A Polars frame calls its rows its height. What has neither is a stream, whose rows are counted by reading it.
    n_rows = getattr(data, "num_rows", getattr(data, "height", None))
    reader = pa.RecordBatchReader.from_stream(data)

    def read(columns: Sequence[str] | None, *_: Any) -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield batch if columns is None else batch.select(columns)

    return Scorable(reader.schema, n_rows, read)
