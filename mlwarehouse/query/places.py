"""Where in the user's own text an error is: engines see another text, with the views in it."""

from __future__ import annotations

import re

from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError

_NAMES = re.compile(r'"([^"]+)"|`([^`]+)`|\bname (\w+) does not exist')


def with_place(message: str, text: str, dialect: str) -> str:
    """An error message with the line and column of the first name in it that the question has.

    Args:
        message: What the engine says.
        text: The question, as it was asked.
        dialect: The dialect it is written in.
    """
    if " at line " in message:
        return message  # of the parser, which knows better
    try:
        tokens = Dialect.get_or_raise(dialect).tokenize(text)
    except (SqlglotError, ValueError):
        return message
    said = message.partition(" Did you mean ")[0].partition(" The names are ")[0]
    for match in _NAMES.finditer(said):
        name = next(group for group in match.groups() if group).lower()
        for token in tokens:
            if token.text.lower() == name:
                column = token.col - (token.end - token.start)
                end = "" if message.endswith((".", "!", "?")) else "."
                return f"{message}{end} It stands at line {token.line}, column {column}."
    return message
