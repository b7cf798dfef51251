"""Parameter marks as each dialect and its drivers write them, made one.

Known are ``$name``, ``:name``, ``@name``, ``%(name)s`` and ClickHouse's ``{name:Type}``; and by position ``?``, ``%s``,
``$1``, ``:1``. Marks are found among the tokens, so what stands inside quotes is never one, and values stay apart from
the text to the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from sqlglot.tokenizer_core import Token, TokenType

from mlwarehouse.errors import SqlError

POSITIONAL = "mlw_"
"""Before the number of a mark without a name."""

_OPERAND_ENDS = {
    TokenType.VAR,
    TokenType.IDENTIFIER,
    TokenType.STRING,
    TokenType.NUMBER,
    TokenType.R_PAREN,
    TokenType.R_BRACKET,
    TokenType.R_BRACE,
    TokenType.NULL,
    TokenType.TRUE,
    TokenType.FALSE,
    TokenType.END,
}
"""After these a sign is an operator: modulo, a slice's colon, PostgreSQL's ``?`` on JSON."""


@dataclass
class _Marks:
    """The marks without a name that were seen."""

    n_unnumbered: int = 0
    numbers: set[int] = field(default_factory=set)

    def next(self) -> str:
        """The name of the next ``?``."""
        self.n_unnumbered += 1
        return f"{POSITIONAL}{self.n_unnumbered}"

    def numbered(self, number: str) -> str:
        """The name of ``$1`` and its like."""
        self.numbers.add(int(number))
        return f"{POSITIONAL}{int(number)}"


def named_marks(tokens: Sequence[Token], dialect: str) -> tuple[list[Token], int]:
    """Write every mark as ``:name``, which sqlglot reads in every dialect; in DuckDB's, as ``$name``.

    Args:
        tokens: The question's tokens; those of the result keep their places in its text.
        dialect: The dialect that they are read in.

    Returns:
        The tokens, and how many values by position they need.

    Raises:
        SqlError: ``?`` and ``$1`` in one question.
    """
    # In DuckDB's dialect a colon is also that of `alias: expression`.
    kind, sign = (TokenType.PARAMETER, "$") if dialect == "duckdb" else (TokenType.COLON, ":")
    seen = _Marks()
    result: list[Token] = []
    position = 0
    while position < len(tokens):
        length, name = _mark(tokens[position:], seen) if not _ends_operand(result) else (0, "")
        if not length:
            result.append(tokens[position])
            position += 1
            continue
        at = tokens[position]
        result.append(Token(kind, sign, at.line, at.col, at.start, at.end))
        result.append(Token(TokenType.VAR, name, at.line, at.col, at.start, tokens[position + length - 1].end))
        position += length
    if seen.n_unnumbered and seen.numbers:
        raise SqlError("Marks by position are either all `?` or all numbered, as `$1`; this question has both.")
    return result, max(seen.n_unnumbered, *seen.numbers, 0)


def _ends_operand(before: Sequence[Token]) -> bool:
    return bool(before) and before[-1].token_type in _OPERAND_ENDS


def _mark(rest: Sequence[Token], seen: _Marks) -> tuple[int, str]:
    """How many tokens the mark at the beginning has, and its name; nothing where there is none."""
    first = rest[0]
    words = list(_touching(rest))
    texts = [word.text for word in words]
    following = texts[1] if len(texts) > 1 else ""
    if first.token_type == TokenType.PLACEHOLDER:
        return (2, seen.numbered(following)) if following.isdigit() else (1, seen.next())
    if first.text in (":", "$", "@") and following:
        if following.isdigit():
            return 2, seen.numbered(following)
        return (2, following) if following.isidentifier() else (0, "")
    if first.token_type == TokenType.VAR and first.text.startswith("$") and first.text[1:].isidentifier():
        return 1, first.text[1:]
    if first.text == "%":
        if following == "s":
            return 2, seen.next()
        if len(texts) == 5 and (texts[1], texts[3], texts[4]) == ("(", ")", "s") and texts[2].isidentifier():
            return 5, texts[2]
    return 0, ""


def _touching(rest: Sequence[Token]) -> Iterator[Token]:
    """The first tokens, at most five, that stand without space between them."""
    yield rest[0]
    for before, token in pairwise(rest[:5]):
        if token.start != before.end + 1:
            return
        yield token


def by_name(n_positional: int, parameters: Mapping[str, Any] | Sequence[Any] | None) -> dict[str, Any]:
    """Values by the names of their marks.

    Args:
        n_positional: How many values by position the question needs.
        parameters: Values by name, or in the order of the marks.

    Raises:
        SqlError: Values by position for marks by name, the other way round, or not as many as marks.
    """
    if parameters is None or isinstance(parameters, Mapping):
        if n_positional:
            raise SqlError(
                f"The question has {n_positional} marks without names; give their values as a list, in their order."
            )
        return dict(parameters or {})
    if isinstance(parameters, str | bytes) or not isinstance(parameters, Sequence):
        raise SqlError(
            f"Parameters are values by name, or a list where marks have no names; got {type(parameters).__name__}."
        )
    if len(parameters) != n_positional:
        raise SqlError(f"The question has {n_positional} marks without names, and {len(parameters)} values were given.")
    return {f"{POSITIONAL}{number}": value for number, value in enumerate(parameters, start=1)}
