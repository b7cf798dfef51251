"""The filter language's spelling: back-ticks quote names, and both ' and " make strings, as MLflow's users write."""

from __future__ import annotations

import re
from itertools import pairwise

import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect, DialectType
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType
from sqlglot.tokens import Tokenizer as BaseTokenizer

from mlwarehouse.errors import FilterError

HINT = "Names with other characters than letters, digits and _ go in back-ticks, as in metrics.`val/loss`."

_NOTHING_BEFORE = re.compile(r"^Required keyword: 'this' missing for <class '[\w.]*\.(?P<word>And|Or)'>")

_QUOTED = (TokenType.STRING, TokenType.IDENTIFIER)


class FilterDialect(Dialect):
    """SQL expressions with MLflow's quoting; a quote inside a string is doubled, and a backslash is a backslash."""

    IDENTIFIERS_CAN_START_WITH_DIGIT = True

    class Tokenizer(BaseTokenizer):
        """Which quotes mean what."""

        QUOTES = ["'", '"']  # noqa: RUF012
        IDENTIFIERS = ["`"]  # noqa: RUF012
        STRING_ESCAPES = ["'", '"']  # noqa: RUF012

    def tokenize(self, sql: str, dialect: DialectType = None) -> list[Token]:
        """The tokens of a text; behind a dot each word is a name, `tags.select` as well as `tags.team`."""
        tokens = super().tokenize(sql, dialect)
        for before, token in pairwise(tokens):
            if before.token_type == TokenType.DOT and token.text.isidentifier() and token.token_type not in _QUOTED:
                token.token_type = TokenType.VAR
        return tokens


def parse_expression(text: str, *, what: str) -> exp.Expr | None:
    """Parse one expression.

    Args:
        text: A filter, or the name in an order-by entry.
        what: The word for it in error messages.

    Returns:
        Its tree, or None when there is nothing but white space.

    Raises:
        FilterError: It doesn't parse, or there is more than one expression.
    """
    try:
        trees = [tree for tree in sqlglot.parse(text, dialect=FilterDialect) if tree is not None]
    except SqlglotError as error:
        raise FilterError(f"The {what} `{text}` doesn't parse: {_detail(error)} {HINT}") from error
    if len(trees) > 1:
        raise FilterError(f"The {what} `{text}` has {len(trees)} expressions; join them by AND or OR.")
    return trees[0] if trees else None


def _detail(error: SqlglotError) -> str:
    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        near = str(first.get("highlight") or "").strip()
        place = f"character {first.get('col')}"
        description = str(first.get("description"))
        if description.startswith("Expecting )"):
            return f"a parenthesis isn't closed behind `{near}` near {place}."
        if match := _NOTHING_BEFORE.search(description):
            return f"something is missing before `{match['word'].upper()}`."
        if description.startswith("Required keyword"):
            return f"something is missing after `{near}` near {place}."
        return f"unexpected `{near}` near {place}." if near else f"it breaks off near {place}."
    return "a quote isn't closed."
