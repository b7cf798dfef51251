"""The filter language over entities that are held in memory, such as experiments.

As for runs, a comparison with what isn't there is neither true nor false, and neither is its NOT; only IS NULL asks
for absence.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from sqlglot import exp

from mlwarehouse.errors import FilterError, did_you_mean
from mlwarehouse.query.comparing import FOR_TEXT, PATTERNS, SIGNS
from mlwarehouse.query.conditions import COMPARISONS, NAMES, order_term
from mlwarehouse.query.dialect import parse_expression
from mlwarehouse.query.values import Value, read_value, show

E = TypeVar("E")

Entry = tuple[Mapping[str, Any], Mapping[str, str], E]
"""An entity's attributes by name, its tags, and the entity itself."""

Test = Callable[[Mapping[str, Any], Mapping[str, str]], bool | None]
"""Whether an entity passes; None where that can't be said."""

_TAGS = ("tags", "tag")
_ATTRIBUTES = ("attributes", "attribute", "attr")
_SIGNS: dict[type[exp.Expr], Callable[[Any, Any], bool]] = {
    exp.EQ: operator.eq,
    exp.NEQ: operator.ne,
    exp.LT: operator.lt,
    exp.LTE: operator.le,
    exp.GT: operator.gt,
    exp.GTE: operator.ge,
}


@dataclass(frozen=True)
class Attribute:
    """What an entity has one of.

    Attributes:
        name: Its name.
        type: ``text``, ``number``, or ``texts``: those are asked for by ``<name>.<key>``.
    """

    name: str
    type: Literal["text", "number", "texts"]


def matching(entries: Sequence[Entry[E]], filter_string: str, attributes: Sequence[Attribute]) -> list[Entry[E]]:
    """Those of some entities that pass a filter.

    Args:
        entries: The entities.
        filter_string: The filter; empty for all.
        attributes: What can be asked of them, beside ``tags.<key>``.

    Raises:
        FilterError: The filter isn't understood.
    """
    tree = parse_expression(filter_string, what="filter")
    if tree is None:
        return list(entries)
    passes = _test(tree, {a.name: a for a in attributes})
    return [entry for entry in entries if passes(entry[0], entry[1]) is True]


def arranged(entries: Sequence[Entry[E]], order_by: Sequence[str], attributes: Sequence[Attribute]) -> list[Entry[E]]:
    """Entities in an order; what is missing comes last in either direction, and equals stay as they were.

    Args:
        entries: The entities.
        order_by: Attributes, each with ``ASC`` or ``DESC`` behind it or nothing.
        attributes: What there is.

    Raises:
        FilterError: The order isn't understood.
    """
    result = list(entries)
    for term in reversed(order_by):
        node, is_descending = order_term(term)
        read, _ = _reader(node, {a.name: a for a in attributes})
        there = [entry for entry in result if read(*entry[:2]) is not None]
        missing = [entry for entry in result if read(*entry[:2]) is None]
        # Sorting the other way round keeps equals as they were, too.
        result = sorted(there, key=_key(read), reverse=is_descending) + missing
    return result


def _key(read: Callable[..., Any]) -> Callable[[Entry[E]], Any]:
    return lambda entry: read(*entry[:2])


def _test(node: exp.Expr, attributes: Mapping[str, Attribute]) -> Test:
    if isinstance(node, exp.Paren):
        return _test(node.this, attributes)
    if isinstance(node, exp.And | exp.Or):
        one, other = _test(node.left, attributes), _test(node.right, attributes)
        decisive = isinstance(node, exp.Or)
        return lambda a, t: _joined(one(a, t), other(a, t), decisive)
    if isinstance(node, exp.Not):
        inner = _test(node.this, attributes)
        return lambda a, t: None if (found := inner(a, t)) is None else not found
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        read, _ = _reader(node.this, attributes)
        return lambda a, t: read(a, t) is None
    if isinstance(node, exp.In) and node.expressions and not node.args.get("query"):
        tests = [_comparison(node.this, exp.EQ, read_value(v), attributes) for v in node.expressions]
        return lambda a, t: _any([test(a, t) for test in tests])
    if isinstance(node, PATTERNS):
        like = _comparison(node.this, type(node), read_value(node.expression), attributes)
        return (lambda a, t: None if (f := like(a, t)) is None else not f) if node.args.get("negate") else like
    if type(node) in COMPARISONS:
        if isinstance(node.expression, NAMES):
            raise FilterError(f"`{show(node.expression)}` is a name; a text goes in quotes.")
        return _comparison(node.this, type(node), read_value(node.expression), attributes)
    raise FilterError(
        f"`{show(node)}` isn't a condition that a filter can have: those are comparisons (=, !=, <, <=, >, >=, LIKE, "
        "ILIKE, IN, IS NULL), joined by AND, OR, NOT and parentheses."
    )


def _joined(one: bool | None, other: bool | None, decisive: bool) -> bool | None:
    if decisive in (one, other):
        return decisive
    return None if one is None or other is None else not decisive


def _any(found: list[bool | None]) -> bool | None:
    return True if True in found else None if None in found else False


def _reader(node: exp.Expr, attributes: Mapping[str, Attribute]) -> tuple[Callable[..., Any], str]:
    """How a name is read of an entity, and its type."""
    if not isinstance(node, exp.Column | exp.Dot):
        raise FilterError(f"`{show(node)}` isn't a name; a condition begins with one, as in `name = 'sentiment'`.")
    parts = [part.name for part in node.parts]
    if parts[0] in _TAGS and len(parts) > 1:
        key = ".".join(parts[1:])
        return lambda _, tags: tags.get(key), "text"
    several = attributes.get(parts[0])
    if several is not None and several.type == "texts" and len(parts) > 1:
        key = ".".join(parts[1:])
        return lambda found, _: found[several.name].get(key), "text"
    word = ".".join(parts[1:] if parts[0] in _ATTRIBUTES and len(parts) > 1 else parts)
    if word not in attributes or attributes[word].type == "texts":
        raise FilterError(
            f"`{show(node)}` can't be asked here; there are {', '.join(attributes)} and tags.<key>."
            f"{did_you_mean(word, [*attributes, 'tags'])}"
        )
    return lambda found, _: found[word], attributes[word].type


def _comparison(node: exp.Expr, sign: type[exp.Expr], value: Value, attributes: Mapping[str, Attribute]) -> Test:
    said = show(node)
    read, kind = _reader(node, attributes)
    if value is None:
        raise FilterError(f"`{said}` is compared with NULL, which is never true; write `{said} IS NULL`.")
    if kind == "number" and (isinstance(value, str) or sign in PATTERNS):
        raise FilterError(f"`{said}` is a number and is compared with numbers; got '{value}' after {SIGNS[sign]}.")
    if kind == "text" and not isinstance(value, str):
        raise FilterError(f"`{said}` is a text and is compared with texts in quotes; got {value}.")
    if kind == "text" and sign not in FOR_TEXT:
        raise FilterError(f"`{said}` can't be compared by {SIGNS[sign]} with a text; there are =, !=, LIKE, ILIKE, IN.")
    if sign in PATTERNS:
        pattern = _pattern(str(value), ignores_case=sign is exp.ILike)
        return lambda a, t: None if (found := read(a, t)) is None else pattern.fullmatch(found) is not None
    compare = _SIGNS[sign]
    return lambda a, t: None if (found := read(a, t)) is None else compare(found, value)


def _pattern(text: str, *, ignores_case: bool) -> re.Pattern[str]:
    marks = {"%": ".*", "_": "."}
    written = "".join(marks.get(character) or re.escape(character) for character in text)
    return re.compile(written, re.DOTALL | (re.IGNORECASE if ignores_case else 0))
