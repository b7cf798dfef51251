"""Names as written, and what they mean.

A metric's statistic is a suffix: ``metrics.loss.min``. Since a metric may itself be called ``loss.min``, a name
without back-ticks is taken literally where such a metric exists and as a suffix where it doesn't. Inside back-ticks
everything is literal, and a suffix may follow the closing one: ``metrics.`val/loss`.min``. What is spelled like a call
can't be a key: ``metrics.loss.at_step(100)`` is the value at a step, ``number(params.lr)`` a param or tag as a number.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from sqlglot import exp

from mlwarehouse.errors import FilterError, did_you_mean
from mlwarehouse.query.dialect import HINT
from mlwarehouse.query.fields import (
    AT_STEP,
    ATTRIBUTES_BY_NAME,
    DATASET_FIELDS,
    NAMESPACES,
    NUMBER,
    STATS,
    Kind,
)


@dataclass(frozen=True)
class Name:
    """What a name means.

    Attributes:
        kind: Its namespace.
        key: The metric's series, the param's or tag's key, the attribute's or dataset field's name.
        stat: For a metric an entry of `STATS`, or `AT_STEP`; for a param or tag `NUMBER`, or what is the default.
        step: The step that `AT_STEP` is about.
    """

    kind: Kind
    key: str
    stat: str = "last"
    step: int | None = None


@dataclass(frozen=True)
class WrittenName:
    """A name as it stands in a question.

    Attributes:
        literal: Its meaning when everything after the namespace is the key.
        suffixed: Its meaning when the last part is a statistic; None when it can't be.
        is_settled: Whether the spelling alone decides for `suffixed`, or there is nothing to decide.
    """

    literal: Name
    suffixed: Name | None = None
    is_settled: bool = True

    def meaning(self, known_series: Collection[str]) -> Name:
        """What it means, given the series that exist among the doubtful ones (`doubtful_key`)."""
        if self.suffixed is None or (not self.is_settled and self.literal.key in known_series):
            return self.literal
        return self.suffixed

    @property
    def doubtful_key(self) -> str | None:
        """The series whose existence decides the meaning, or None."""
        return None if self.is_settled else self.literal.key


def read_name(node: exp.Expr) -> WrittenName | None:
    """Read a name from its place in a tree.

    Args:
        node: Any node.

    Returns:
        The name, or None when the node isn't one.

    Raises:
        FilterError: An unknown namespace, attribute or dataset field.
    """
    if isinstance(node, exp.Anonymous):
        return _as_number(node)
    step = None
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Anonymous):
        step, node = _step(node.expression), node.this
    parts = _parts(node)
    if parts is None:
        return None
    if step is not None:
        return _at_step(parts, step)
    if len(parts) == 1:
        return WrittenName(_attribute(parts[0][0]))
    space = parts[0][0]
    kind = NAMESPACES.get(space)
    written = ".".join(text for text, _ in parts)
    if kind is None:
        raise FilterError(
            f"Unknown name `{written}`: it must begin with metrics, params, tags, attributes or datasets."
            f"{did_you_mean(space, NAMESPACES)}"
        )
    keys = parts[1:]
    key = ".".join(text for text, _ in keys)
    if kind == "attribute":
        return WrittenName(_attribute(key))
    if kind == "dataset":
        if key not in DATASET_FIELDS:
            raise FilterError(
                f"Unknown dataset field `{written}`; there are {', '.join(f'datasets.{f}' for f in DATASET_FIELDS)}."
                f"{did_you_mean(key, DATASET_FIELDS)}"
            )
        return WrittenName(Name(kind, key))
    literal = Name(kind, key)
    last, last_is_quoted = keys[-1]
    if kind == "metric" and len(keys) > 1 and not last_is_quoted and last in STATS:
        before = Name(kind, ".".join(text for text, _ in keys[:-1]), last)
        return WrittenName(literal, before, is_settled=any(quoted for _, quoted in keys[:-1]))
    return WrittenName(literal)


def read_column(text: str) -> WrittenName:
    """Read a column of a search's frame, such as ``metrics.val/loss``, ``params.lr`` or ``status``.

    Unlike in a filter, everything after the namespace is the key as it stands; back-ticks around it are optional.

    Raises:
        FilterError: An unknown namespace or attribute, or a dataset, which has no column.
    """
    space, dot, key = text.partition(".")
    if not dot:
        return WrittenName(_attribute(text))
    kind = NAMESPACES.get(space)
    if kind is None or kind == "dataset":
        raise FilterError(
            f"Unknown column `{text}`: it must begin with metrics, params or tags, or be an attribute."
            f"{did_you_mean(space, NAMESPACES)}"
        )
    if kind == "attribute":
        return WrittenName(_attribute(key))
    at_step = _AT_STEP.search(key)
    if kind == "metric" and at_step is not None:
        before = key[: at_step.start()]
        is_quoted = len(before) > 1 and before.startswith("`") and before.endswith("`")
        name = Name(kind, before[1:-1] if is_quoted else before, AT_STEP, int(at_step["step"]))
        return WrittenName(Name(kind, key), name, is_settled=is_quoted)
    head, tick, stat = key.rpartition("`.")
    if kind == "metric" and tick and head.startswith("`") and stat in STATS:
        return WrittenName(Name(kind, key), Name(kind, head[1:], stat))
    if len(key) > 1 and key.startswith("`") and key.endswith("`"):
        return WrittenName(Name(kind, key[1:-1]))
    head, dot, stat = key.rpartition(".")
    if kind == "metric" and dot and head and stat in STATS:
        return WrittenName(Name(kind, key), Name(kind, head, stat), is_settled=False)
    return WrittenName(Name(kind, key))


_AT_STEP = re.compile(r"(?<=.)\.at_step\((?P<step>-?\d+)\)$")


def _step(call: exp.Anonymous) -> int:
    """The step of an ``at_step(…)``."""
    if call.name.lower() != AT_STEP:
        raise FilterError(
            f"`{call.name}(…)` can't follow a name; a step can, as in metrics.loss.at_step(100)."
            f"{did_you_mean(call.name, [AT_STEP, *STATS])}"
        )
    step = call.expressions[0] if len(call.expressions) == 1 else None
    sign, digits = (-1, step.this) if isinstance(step, exp.Neg) else (1, step)
    if not isinstance(digits, exp.Literal) or digits.is_string or not str(digits.this).isdigit():
        raise FilterError("`at_step` needs one step, a whole number, as in metrics.loss.at_step(100).")
    return sign * int(digits.this)


def _at_step(parts: list[tuple[str, bool]], step: int) -> WrittenName:
    written = ".".join(text for text, _ in parts)
    if NAMESPACES.get(parts[0][0]) != "metric" or len(parts) == 1:
        raise FilterError(f"Only a metric has a value at a step, as in metrics.loss.at_step({step}); got `{written}`.")
    if not -(2**63) <= step < 2**63:
        raise FilterError(f"`{written}.at_step({step})` asks for a step that doesn't fit 64 bits.")
    return WrittenName(Name("metric", ".".join(text for text, _ in parts[1:]), AT_STEP, step))


def _as_number(call: exp.Anonymous) -> WrittenName | None:
    """A ``number(…)`` around a param or tag; None for any other call."""
    if call.name.lower() != NUMBER or len(call.expressions) != 1:
        return None
    inner = read_name(call.expressions[0])
    if inner is None or inner.literal.kind not in ("param", "tag") or inner.literal.stat == NUMBER:
        raise FilterError("`number` is for a param or a tag, as in number(params.lr); other names have their type.")
    return WrittenName(Name(inner.literal.kind, inner.literal.key, NUMBER))


def _attribute(word: str) -> Name:
    attribute = ATTRIBUTES_BY_NAME.get(word)
    if attribute is None:
        raise FilterError(
            f"Unknown attribute `{word}`.{did_you_mean(word, ATTRIBUTES_BY_NAME)} Metrics, params and tags need their "
            f"prefix, as in `metrics.{word}`."
        )
    return Name("attribute", attribute.name)


def _parts(node: exp.Expr) -> list[tuple[str, bool]] | None:
    """The parts of a dotted name with whether each is quoted, or None when the node isn't a dotted name."""
    if isinstance(node, exp.Dot):
        before, last = _parts(node.this), node.expression
    elif isinstance(node, exp.Identifier):
        before, last = [], node
    elif isinstance(node, exp.Column):
        before, last = [], node.this
        for part in (node.args.get("catalog"), node.args.get("db"), node.args.get("table")):
            if part is not None:
                before.append((part.name, bool(part.args.get("quoted"))))
    else:
        return None
    if before is None or not isinstance(last, exp.Identifier | exp.Literal):
        return None
    is_quoted = last.is_string if isinstance(last, exp.Literal) else bool(last.args.get("quoted"))
    return [*before, (last.name, is_quoted)]


def order_entry(text: str, node: exp.Expr | None) -> WrittenName:
    """Read the name of an order-by entry.

    Raises:
        FilterError: It isn't a name, or names a dataset.
    """
    name = read_name(node) if node is not None else None
    if name is None:
        raise FilterError(
            f"The order-by entry `{text}` isn't a name with ASC or DESC after it, such as `metrics.loss ASC`. {HINT}"
        )
    if name.literal.kind == "dataset":
        raise FilterError(
            f"The order-by entry `{text}` names a dataset; a run may have several, so they can't order runs."
        )
    return name
