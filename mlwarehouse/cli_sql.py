"""The command line's questions in SQL."""

from __future__ import annotations

import json
import shutil
import sys
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from mlwarehouse.cli_options import AsOfOption, AtOption, JsonOption, WarehouseOption
from mlwarehouse.cli_output import note
from mlwarehouse.cli_table import markdown_lines, page, table_lines
from mlwarehouse.cli_writing import FORMATS, WRITERS, format_of, opened
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.warehouse import Warehouse

LOCKED_LIMIT_S = 5.0
"""Seconds until a question by ``--locked`` is ended, unless told otherwise."""

TABLE_ROWS = 1000
"""Rows of a table unless told otherwise: it is for people."""


def sql(
    query: Annotated[str | None, typer.Argument(help="One SELECT; `-` reads it from standard input.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-i", help="Read the question from this file.")] = None,
    warehouse: WarehouseOption = None,
    dialect: Annotated[
        str, typer.Option(help="The SQL dialect it is written in, such as postgres or tsql.")
    ] = "duckdb",
    parameters: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A value for the mark $NAME; may repeat."),
    ] = None,
    as_of: AsOfOption = None,
    at: AtOption = None,
    output_format: Annotated[
        str | None, typer.Option("--format", help=f"{', '.join(FORMATS)}; else by the file's name, or a table.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file, which appears when it is whole.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=0, help=f"The most rows; {TABLE_ROWS} of a table, else all.")
    ] = None,
    timeout_s: Annotated[float | None, typer.Option("--timeout", metavar="S", help="Give up after this time.")] = None,
    engine: Annotated[str, typer.Option("--engine", help="`embedded`, or `spark`.")] = "embedded",
    locked: Annotated[
        bool, typer.Option("--locked", help="For SQL that you don't trust: shut in, read-only, within limits.")
    ] = False,
    experiment: Annotated[
        list[str] | None, typer.Option("--experiment", "-e", help="With --locked: only rows of this one; may repeat.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Answer one SELECT over tables and views, as a table or a file.

    Example: mlwarehouse sql "SELECT run_id, min(value) AS best FROM metrics WHERE key = 'loss' GROUP BY run_id"
    """
    wanted = format_of(output_format, output, as_json)
    if wanted == "parquet" and output is None and sys.stdout.isatty():
        raise InvalidInputError("Parquet isn't for a terminal; give a file by --output, or a pipe.")
    question, values = _question(query, file), _values(parameters or [])
    if locked:
        if as_of is not None or at is not None or dialect != "duckdb" or engine != "embedded":
            raise InvalidInputError("`--locked` answers DuckDB's SQL about now; leave out what says otherwise.")
        stream = _locked(Warehouse(warehouse), question, values, experiment, timeout_s)
    elif experiment:
        raise InvalidInputError("`--experiment` goes with `--locked`; else name it in the question.")
    else:
        stream = Warehouse(warehouse).sql(
            question,
            parameters=values,
            dialect=dialect,
            as_of=as_of,
            at=at,
            output_format="batches",
            engine=engine,
            progress=True,
            timeout_s=timeout_s,
        )
    if wanted in WRITERS:
        with opened(output) as out:
            n = _written(wanted, stream if limit is None else _first(stream, limit), out)
        if output is not None:
            note(f"{n} rows in {output}")
        return
    limit = TABLE_ROWS if limit is None else limit
    rows = list(islice((row for batch in stream for row in batch.to_pylist()), limit + 1))
    is_cut, rows = len(rows) > limit, rows[:limit]
    columns = stream.schema.names
    if wanted == "markdown":
        lines = markdown_lines(rows, columns)
    else:
        is_shown = output is None and sys.stdout.isatty()
        lines = table_lines(rows, columns, width=shutil.get_terminal_size().columns if is_shown else None)
        lines.append(f"({len(rows)} rows)" if len(rows) != 1 else "(1 row)")
    if output is not None:
        with opened(output) as out:
            out.write(("\n".join(lines) + "\n").encode())
    else:
        page(lines)
    if is_cut:
        note(f"only the first {limit} rows; --limit asks for more, --output FILE.csv or --format csv gives all")


def _locked(
    warehouse: Warehouse,
    question: str,
    values: dict[str, Any] | None,
    experiments: list[str] | None,
    limit_s: float | None,
) -> Any:
    with warehouse.locked(experiment_names=experiments, time_limit_s=limit_s or LOCKED_LIMIT_S) as shut_in:
        answer = shut_in.answer(question, parameters=values)
    if answer.is_truncated:
        note(f"The answer has more than {answer.rows.num_rows} rows; those behind are left out.")
    return answer.rows.to_reader()


def _written(wanted: str, stream: Any, out: IO[bytes]) -> int:
    import pyarrow as pa

    try:
        return WRITERS[wanted](stream, out)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidInputError(f"A column can't be written as {wanted}; cast it to TEXT: {error}.") from error


def _question(query: str | None, file: Path | None) -> str:
    if (query is None) == (file is None):
        raise InvalidInputError("Give the question either as text, as `-` for standard input, or by --file.")
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"The question in `{file}` couldn't be read: {error}.") from error
    assert query is not None
    return sys.stdin.read() if query == "-" else query


def _values(given: list[str]) -> dict[str, Any] | None:
    """Values by name: numbers, true, false and null as in JSON, quoted text too; all else is text."""
    values: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise InvalidInputError(f"`{text}` isn't a parameter; write it as --param name=value.")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values or None


def _first(stream: Any, limit: int) -> Any:
    """The first rows of a stream."""
    import pyarrow as pa

    def batches() -> Any:
        left = limit
        for batch in stream:
            if left <= 0:
                return
            yield batch.slice(0, left)
            left -= batch.num_rows

    return pa.RecordBatchReader.from_batches(stream.schema, batches())
