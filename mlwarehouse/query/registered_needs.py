"""What a search of the registry needs of a model's events, so that models without such events needn't be folded.

A condition holds for a model or version only if some event of the model says what it asks: of a value that is so now,
the event that made it so. What asks for absence (`NOT`, `IS NULL`), or for what no one event says, needs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlglot import exp

_MADE = ("model_created", "version_created")

EVENTS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "description": (("description_set", *_MADE), "value"),
    "stage": (("stage_set",), "stage"),
    "version": (("version_created",), "version"),
    "run_id": (("version_created",), "run_id"),
    "source": (("version_created",), "source"),
    "digest": (("version_created",), "digest"),
    "user_id": (("version_created",), "actor"),
    "parent": (("parent_set",), "value"),
    "created_at": (_MADE, "event_at"),
    "updated_at": ((), "event_at"),
}
"""By column of the views: the kinds of events that say it (none for any), and their column."""

_COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Like, exp.ILike)


def needs_of(
    where: exp.Expr, tags: Mapping[str, str], parameters: Mapping[str, object], bind: Callable[[object], exp.Expr]
) -> tuple[str, ...]:
    """What a condition needs.

    Args:
        where: The condition over the views.
        tags: The keys of the tags that it names, by the name of their join.
        parameters: Values of its marks.
        bind: Makes a parameter of a value.

    Returns:
        Conditions over the rows of `registry_events`, in DuckDB's dialect: whatever is found has, for each of them, one
        such row. None where it needs nothing.
    """
    found = _Needs(tags, parameters, bind).of(where)
    of_names = [need for need in found if _is_of_names(need)]
    others = [need for need in found if not _is_of_names(need)]
    # A name is that of each row.
    joined = [exp.and_(need, *of_names) for need in others] or ([exp.and_(*of_names)] if of_names else [])
    return tuple(need.sql(dialect="duckdb") for need in joined)


class _Needs:
    def __init__(
        self, tags: Mapping[str, str], parameters: Mapping[str, object], bind: Callable[[object], exp.Expr]
    ) -> None:
        self._tags, self._parameters, self._bind = tags, parameters, bind

    def of(self, node: exp.Expr) -> list[exp.Expr]:
        """What all must be there."""
        if isinstance(node, exp.Paren):
            return self.of(node.this)
        if isinstance(node, exp.And):
            return [*self.of(node.left), *self.of(node.right)]
        if isinstance(node, exp.Or):
            sides = self.of(node.left), self.of(node.right)
            return [exp.or_(sides[0][0], sides[1][0])] if all(sides) else []
        if isinstance(node, exp.In) and node.args.get("query"):
            return [self._alias(node)]
        if isinstance(node, _COMPARISONS) and isinstance(node.this, exp.Column):
            need = self._compared(node)
            return [] if need is None else [need]
        return []

    def _alias(self, node: exp.In) -> exp.Expr:
        """An alias points at it: it was set once."""
        inner = node.args["query"].this.args.get("where")
        return _of_kinds(("alias_set",), exp.true() if inner is None else inner.this.copy())

    def _compared(self, node: exp.Expr) -> exp.Expr | None:
        column = node.this
        if column.table in self._tags:
            key = exp.EQ(this=exp.column("key"), expression=self._bind(self._tags[column.table]))
            return _of_kinds(("tag_set",), exp.and_(key, _moved(node, "value")))
        if column.name == "name":
            return _moved(node, "model_name")
        if column.name not in EVENTS:
            return None
        # A version without a move is in the stage None.
        if column.name == "stage" and (type(node) is not exp.EQ or self._parameters[node.expression.name] == "None"):
            return None
        kinds, place = EVENTS[column.name]
        return _of_kinds(kinds, _moved(node, place))


def _moved(node: exp.Expr, column: str) -> exp.Expr:
    moved = node.copy()
    moved.set("this", exp.column(column))
    return moved


def _of_kinds(kinds: tuple[str, ...], condition: exp.Expr) -> exp.Expr:
    if not kinds:
        return condition
    words = [exp.Literal.string(kind) for kind in kinds]
    return exp.and_(exp.In(this=exp.column("kind"), expressions=words), condition)


def _is_of_names(need: exp.Expr) -> bool:
    return {column.name for column in need.find_all(exp.Column)} == {"model_name"}
