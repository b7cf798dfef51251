"""Searches of registered models and their versions: the filter language, over what those have.

As for runs, a comparison with what isn't there is neither true nor false; only IS NULL asks for absence. A model or
version has any number of aliases, so a comparison of `alias` asks whether one of them passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlglot import exp

from mlwarehouse.entities import Stage
from mlwarehouse.errors import FilterError, did_you_mean
from mlwarehouse.query.comparing import FOR_TEXT, PATTERNS, SIGNS
from mlwarehouse.query.conditions import COMPARISONS, NAMES, order_term
from mlwarehouse.query.dialect import parse_expression
from mlwarehouse.query.fields import Attribute
from mlwarehouse.query.registered_needs import needs_of
from mlwarehouse.query.values import Value, compare_time, read_value, show

Subject = Literal["models", "versions"]

ALIAS = "alias"
"""What is asked of all aliases at once."""

_TAGS = ("tags", "tag")
_ATTRIBUTES = ("attributes", "attribute", "attr")

ATTRIBUTES: dict[Subject, tuple[Attribute, ...]] = {
    "models": (
        Attribute("name", "text", "m.name"),
        Attribute("description", "text", "m.description"),
        Attribute("n_versions", "number", "m.n_versions"),
        Attribute("latest_version", "number", "m.latest_version"),
        Attribute("creation_timestamp", "time", "m.created_at", aliases=("created_at",)),
        Attribute("last_updated_timestamp", "time", "m.updated_at", aliases=("updated_at",)),
    ),
    "versions": (
        Attribute("name", "text", "v.name"),
        Attribute("version_number", "number", "v.version", aliases=("version",)),
        Attribute(
            "current_stage", "text", "v.stage", aliases=("stage",), choices=tuple(str(stage.value) for stage in Stage)
        ),
        Attribute("run_id", "text", "v.run_id"),
        Attribute("source_path", "text", "v.source", aliases=("source",)),
        Attribute("digest", "text", "v.digest"),
        Attribute("parent", "text", "v.parent"),
        Attribute("user_id", "text", "v.user_id"),
        Attribute("status", "text", "v.status"),
        Attribute("description", "text", "v.description"),
        Attribute("creation_timestamp", "time", "v.created_at", aliases=("created_at",)),
        Attribute("last_updated_timestamp", "time", "v.updated_at", aliases=("updated_at",)),
    ),
}
"""What a filter or order can name, beside ``tags.<key>`` and, in a filter, `alias`."""

_KEYS: dict[Subject, tuple[str, ...]] = {"models": ("m.name",), "versions": ("v.name", "v.version")}


@dataclass(frozen=True)
class RegisteredQuestion:
    """A search as SQL over the views `registered_models`, called ``m``, or `model_versions`, called ``v``.

    Attributes:
        where: The condition.
        joins: What it needs beside the view.
        parameters: Values of its ``$`` marks.
        on_names: The same condition over ``model_name``, where it and the order look at nothing else.
        order: Terms of an `ORDER BY`.
        needs: Conditions over the rows of `registry_events`: what is found has, for each, one such row.
    """

    where: str
    joins: str
    parameters: dict[str, Any]
    on_names: str | None
    order: tuple[str, ...]
    needs: tuple[str, ...]


@dataclass
class _Words:
    """What the names of one search mean, with what they need."""

    subject: Subject
    parameters: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    looks_further: bool = False

    @property
    def attributes(self) -> dict[str, Attribute]:
        """By each spelling."""
        return {word: a for a in ATTRIBUTES[self.subject] for word in (a.name, *a.aliases)}

    def bind(self, value: object) -> exp.Expr:
        """A parameter mark for a value, as a node."""
        mark = f"value_{len(self.parameters)}"
        self.parameters[mark] = float(value) if type(value) is int else value
        return exp.Placeholder(this=mark)

    def column(self, attribute: Attribute) -> exp.Expr:
        """An attribute's column."""
        table, _, column = attribute.sql.partition(".")
        self.looks_further = self.looks_further or attribute.name != "name"
        return exp.column(column, table=table)

    def tag(self, key: str) -> exp.Expr:
        """A tag's value."""
        self.looks_further = True
        return exp.column("value", table=self.tags.setdefault(key, f"tag_{len(self.tags)}"))

    def joins(self) -> str:
        """The joins of the tags that were named."""
        keys = _KEYS[self.subject]
        parts = []
        for key, alias in self.tags.items():
            mark = self.bind(key).name
            of = "version IS NULL" if self.subject == "models" else "version IS NOT NULL"
            on = " AND ".join(f"{alias}.{column.partition('.')[2]} = {column}" for column in keys)
            tags = f"SELECT name, version, value FROM model_tags WHERE key = ${mark} AND {of}"
            parts.append(f"LEFT JOIN ({tags}) AS {alias} ON {on}")
        return " ".join(parts)


def registered_question(
    subject: Subject, filter_string: str | None, order_by: Sequence[str] | None = None
) -> RegisteredQuestion:
    """Turn a filter and an order into SQL.

    Args:
        subject: What is searched.
        filter_string: The filter; None or empty for all.
        order_by: Entries such as ``last_updated_timestamp DESC``; None or empty for the order of names.

    Raises:
        FilterError: One of them isn't understood.
    """
    words = _Words(subject)
    tree = parse_expression(filter_string or "", what="filter")
    where = exp.true() if tree is None else _condition(tree, words)
    order = tuple(_order(entry, words) for entry in _entries(order_by))
    on_names = None
    if not words.looks_further and not order:
        on_names = where.transform(_to_names).sql(dialect="duckdb")
    joins = words.joins()
    tags = {alias: key for key, alias in words.tags.items()}
    needs = needs_of(where, tags, words.parameters, words.bind)
    return RegisteredQuestion(where.sql(dialect="duckdb"), joins, words.parameters, on_names, order, needs)


def _to_names(node: exp.Expr) -> exp.Expr:
    return exp.column("model_name") if isinstance(node, exp.Column) else node


def _entries(order_by: Sequence[str] | None) -> list[str]:
    if isinstance(order_by, str):
        raise FilterError(f"The order must be a list; got the text `{order_by}`. Write [{order_by!r}].")
    return list(order_by or ())


def _order(entry: str, words: _Words) -> str:
    node, is_descending = order_term(entry)
    # Missing values come last in either direction, as in searches of runs.
    return f"{_column(node, words).sql(dialect='duckdb')} {'DESC' if is_descending else 'ASC'} NULLS LAST"


def _condition(node: exp.Expr, words: _Words) -> exp.Expr:
    if isinstance(node, exp.Paren):
        return exp.paren(_condition(node.this, words))
    if isinstance(node, exp.And | exp.Or):
        return type(node)(this=_condition(node.left, words), expression=_condition(node.right, words))
    if isinstance(node, exp.Not):
        return exp.Not(this=exp.paren(_condition(node.this, words)))
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        if _is_alias(node.this):
            return exp.Not(this=_has_alias(words, None))
        return exp.Is(this=_column(node.this, words), expression=exp.null())
    if isinstance(node, exp.Between) and not node.args.get("symmetric"):
        tests = [
            _compare(node.this, sign, read_value(node.args[end]), words)
            for sign, end in ((exp.GTE, "low"), (exp.LTE, "high"))
        ]
        return exp.paren(exp.and_(*tests, wrap=False))
    if isinstance(node, exp.In) and node.expressions and not node.args.get("query"):
        tests = [_compare(node.this, exp.EQ, read_value(v), words) for v in node.expressions]
        return exp.paren(exp.or_(*tests, wrap=False))
    if isinstance(node, PATTERNS):
        test = _compare(node.this, type(node), read_value(node.expression), words)
        return exp.Not(this=exp.paren(test)) if node.args.get("negate") else test
    if type(node) in COMPARISONS:
        sign, left, right = type(node), node.this, node.expression
        if isinstance(right, NAMES) and not isinstance(left, NAMES):
            left, right, sign = right, left, COMPARISONS[sign]
        if isinstance(right, NAMES):
            raise FilterError(
                f"`{show(right)}` on the right of `{show(left)}` is a name; a text goes in quotes, as in "
                f"{show(left)} {SIGNS[sign]} '{right.name}'."
            )
        return _compare(left, sign, read_value(right), words)
    raise FilterError(
        f"`{show(node)}` isn't a condition that a filter can have: those are comparisons (=, !=, <, <=, >, >=, LIKE, "
        "ILIKE, IN, BETWEEN, IS NULL), joined by AND, OR, NOT and parentheses."
    )


def _parts(node: exp.Expr) -> list[str]:
    if not isinstance(node, exp.Column | exp.Dot):
        raise FilterError(f"`{show(node)}` isn't a name; a condition begins with one, as in `name = 'sentiment'`.")
    return [part.name for part in node.parts]


def _attribute(node: exp.Expr, words: _Words) -> Attribute | None:
    """The attribute that a name means; None for a tag."""
    parts = _parts(node)
    if parts[0] in _TAGS and len(parts) > 1:
        return None
    word = ".".join(parts[1:] if parts[0] in _ATTRIBUTES and len(parts) > 1 else parts)
    found = words.attributes.get(word)
    if found is None:
        there = [a.name for a in ATTRIBUTES[words.subject]]
        raise FilterError(
            f"`{show(node)}` can't be asked of registered {words.subject}; there are {', '.join(there)}, {ALIAS}, and "
            f"tags.<key>.{did_you_mean(word, [*words.attributes, ALIAS, 'tags'])}"
        )
    return found


def _column(node: exp.Expr, words: _Words) -> exp.Expr:
    attribute = _attribute(node, words)
    return words.tag(".".join(_parts(node)[1:])) if attribute is None else words.column(attribute)


def _is_alias(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column | exp.Dot) and _parts(node)[-1] == ALIAS and _parts(node)[0] not in _TAGS


def _has_alias(words: _Words, test: exp.Expr | None) -> exp.Expr:
    words.looks_further = True
    keys = _KEYS[words.subject]
    query = exp.select(*(k.partition(".")[2] for k in keys)).from_("model_aliases")
    subject = exp.Tuple(expressions=[exp.column(k.partition(".")[2], table=k.partition(".")[0]) for k in keys])
    return exp.In(
        this=subject if len(keys) > 1 else subject.expressions[0],
        query=(query if test is None else query.where(test)).subquery(),
    )


def _compare(node: exp.Expr, sign: type[exp.Expr], value: Value, words: _Words) -> exp.Expr:
    said = show(node)
    if value is None:
        raise FilterError(f"`{said}` is compared with NULL, which is never true; write `{said} IS NULL`.")
    attribute = None if _is_alias(node) else _attribute(node, words)
    kind = "text" if attribute is None else attribute.type
    if attribute is not None and kind == "time" and sign not in PATTERNS:
        return compare_time(words.column(attribute), sign, value, words.bind, said)
    if kind != "text":
        if isinstance(value, str) or sign in PATTERNS:
            raise FilterError(f"`{said}` is a number and is compared with numbers; got '{value}' after {SIGNS[sign]}.")
    elif not isinstance(value, str):
        raise FilterError(f"`{said}` is a text and is compared with texts in quotes; got {value}.")
    elif sign not in FOR_TEXT:
        raise FilterError(f"`{said}` can't be compared by {SIGNS[sign]} with a text; there are =, !=, LIKE, ILIKE, IN.")
    elif attribute is not None and attribute.choices and sign not in PATTERNS:
        value = next((c for c in attribute.choices if c.lower() == str(value).lower()), value)
        if value not in attribute.choices:
            raise FilterError(
                f"`{said}` is never '{value}'; it is one of {', '.join(attribute.choices)}."
                f"{did_you_mean(str(value).capitalize(), attribute.choices)}"
            )
    if _is_alias(node):
        return _has_alias(words, sign(this=exp.column(ALIAS), expression=words.bind(value)))
    return sign(this=_column(node, words), expression=words.bind(value))
