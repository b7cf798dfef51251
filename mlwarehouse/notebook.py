"""The notebook magic ``%%mlw``: SQL in a cell, with Python's variables as its parameters.

``%load_ext mlwarehouse`` makes it known. IPython hands itself over; nothing of it is imported.
"""

from __future__ import annotations

import argparse
import shlex
from typing import Any, NoReturn

from mlwarehouse import fluent
from mlwarehouse.errors import InvalidInputError, SqlError, did_you_mean


class _Parser(argparse.ArgumentParser):
    """One that tells mistakes as errors of ours and never ends the process."""

    def error(self, message: str) -> NoReturn:
        """Tell it, with how the magic is used."""
        raise InvalidInputError(f"%%mlw: {message}. {' '.join(self.format_usage().split())}")


def _parser() -> _Parser:
    parser = _Parser("%%mlw", add_help=False, allow_abbrev=False)
    parser.add_argument("--into", metavar="NAME", help="Keep the frame under this name, and show nothing.")
    parser.add_argument("--dialect", default="duckdb", help="The SQL dialect of the cell.")
    parser.add_argument("--format", default="pandas", dest="output_format", help="As `output_format` of sql().")
    parser.add_argument("--engine", default="embedded", help="embedded, or spark.")
    parser.add_argument("--as-of", dest="as_of", help="Only what was recorded by then.")
    parser.add_argument("--at", help="At this pin.")
    parser.add_argument("--timeout", dest="timeout_s", type=float, help="Give up after so many seconds.")
    return parser


def load(shell: Any) -> None:
    """Make ``%mlw`` and ``%%mlw`` known to a shell of IPython."""

    def mlw(line: str, cell: str | None = None) -> Any:
        """Ask the current warehouse in SQL: ``%%mlw [--into NAME] [--dialect D] …`` and a SELECT; ``%mlw SELECT …``."""
        return ask(shell.user_ns, line, cell)

    shell.register_magic_function(mlw, "line_cell", "mlw")


def ask(names: dict[str, Any], line: str, cell: str | None) -> Any:
    """Answer one use of the magic.

    Args:
        names: Python's variables, for ``$name``; with ``--into`` the frame is added.
        line: What stands on the magic's line: options, and for ``%mlw`` also the question.
        cell: The question, or None for ``%mlw``.

    Returns:
        The frame, or None with ``--into``.

    Raises:
        InvalidInputError: Options that can't be understood.
        SqlError: As for `mlwarehouse.sql`, or there is no variable for a mark.
    """
    options, question = _taken_apart(line, cell)
    into = options.pop("into")
    if into is not None and not into.isidentifier():
        raise InvalidInputError(f"%%mlw: `--into {into}` isn't a name of Python.")
    answer = fluent.sql(question, parameters=_variables(question, options["dialect"], names), **options)
    if into is None:
        return answer
    names[into] = answer
    return None


def _taken_apart(line: str, cell: str | None) -> tuple[dict[str, Any], str]:
    if cell is not None:
        return vars(_parser().parse_args(shlex.split(line))), cell
    # Of a line, the options are the words up to the first that belongs to none; the rest is SQL, with its own quotes.
    options, rest = [], line.lstrip()
    while rest.startswith("--"):
        name, _, after = rest.partition(" ")
        value, _, after = ("", "", after) if "=" in name else after.lstrip().partition(" ")
        options += [name, value] if value else [name]
        rest = after.lstrip()
    return vars(_parser().parse_args(options)), rest


def _variables(question: str, dialect: str, names: dict[str, Any]) -> dict[str, Any]:
    """The values of a question's marks, from Python's variables."""
    from mlwarehouse.query import marks_in

    marks = marks_in(question, dialect)
    if missing := sorted(marks - names.keys()):
        raise SqlError(
            f"The question has the parameter `${missing[0]}`, and there is no variable of that name."
            f"{did_you_mean(missing[0], [n for n in names if not n.startswith('_')])}"
        )
    return {mark: names[mark] for mark in marks}
