"""Searches that look at more than names, without folding every model that there is.

What a search asks of a model, some event of the model must say: a tag that is ``yes`` now was set to that once. So the
names that may be found come from a scan of a few columns of the events, and only these models are folded, by the same
views as ever, which decide. A search that goes on finding nothing among those is asked of the views as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.registry.search import Search
from mlwarehouse.tables import REGISTRY_EVENTS

if TYPE_CHECKING:
    import pyarrow as pa

Rows = list[dict[str, Any]]

LEAST_AT_ONCE = 200
"""Events whose models are looked at first, at least."""

GROWTH = 8
ROUNDS = 4
"""Each time as many as so many times more; after so many rounds the views are asked of all that are left."""

MOST_AT_ONCE = 50_000
"""Events whose models are looked at together, where all that is found is wanted."""


@dataclass(frozen=True)
class Subject:
    """What is searched.

    Attributes:
        view: The view, with its short name.
        short: That short name.
        columns: What tells an entry.
        order: The usual order.
    """

    view: str
    short: str
    columns: tuple[str, ...]
    order: tuple[str, ...]


MODELS = Subject("registered_models AS m", "m", ("m.name",), ("m.name",))
VERSIONS = Subject("model_versions AS v", "v", ("v.name", "v.version"), ("v.name", "v.version DESC"))


class Finder:
    """Finds entries by asking an engine."""

    def __init__(self, engine: Engine, reading: Reading | None) -> None:
        """Ask an engine, about a reading or the newest committed state."""
        self._engine, self._reading = engine, reading

    def by_name(self, subject: Subject, search: Search, place: Mapping[str, Any] | None, size: int | None) -> Rows:
        """The first entries in the usual order.

        Args:
            subject: What is searched.
            search: What for; its order is left aside.
            place: The entry behind which to begin; None for the beginning.
            size: How many; None for all.
        """
        given: dict[str, Any] = {}
        behind = "TRUE"
        if place is not None:
            given = {f"place_{word}": value for word, value in place.items()}
            behind = f"{subject.short}.name > $place_name"
            if "version" in place:
                short = subject.short
                behind = f"({behind} OR ({short}.name = $place_name AND {short}.version < $place_version))"
        rows: Rows = []
        # A model may have versions behind the place.
        after, sign = ("", ">") if place is None else (str(place["name"]), ">=")
        at_once = MOST_AT_ONCE if size is None else max(LEAST_AT_ONCE, 2 * size)
        for _ in range(ROUNDS if size is not None else 1):
            if size is None and not search.needs:
                break
            names, is_last = self._candidates(search, after, sign, at_once)
            left = None if size is None else size - len(rows)
            rows += self._among(subject, search, names, behind, given, left)
            if is_last or (size is not None and len(rows) >= size):
                return rows
            after, sign, at_once = names[-1], ">", GROWTH * at_once
        left = None if size is None else size - len(rows)
        behind = f"{behind} AND {subject.short}.name {sign} $after"
        return rows + self._asked(subject, search, behind, {**given, "after": after}, subject.order, left, 0)

    def in_order(self, subject: Subject, search: Search, offset: int, size: int | None) -> Rows:
        """Some entries in the search's own order.

        Args:
            subject: What is searched.
            search: What for.
            offset: How many are left out at the beginning.
            size: How many; None for all.
        """
        order = (*search.order, *subject.order)
        if search.needs:
            names, is_last = self._candidates(search, "", ">", MOST_AT_ONCE)
            if is_last:
                return self._among(subject, search, names, "TRUE", {}, size, order, offset)
        return self._asked(subject, search, "TRUE", {}, order, size, offset)

    def _candidates(self, search: Search, after: str, sign: str, at_once: int) -> tuple[list[str], bool]:
        """Names of models that may be found, of so many events; and whether there are no more."""
        first, *others = search.needs or ("kind = 'model_created'",)
        also = "".join(f" AND model_name IN (SELECT model_name FROM registry_events WHERE {need})" for need in others)
        rows = self._ask(
            f"SELECT model_name, COUNT(*) AS n FROM (SELECT model_name FROM registry_events WHERE ({first}){also} "
            f"AND model_name {sign} $after AND model_name NOT LIKE ':%' ORDER BY model_name LIMIT $at_once) AS found "
            "GROUP BY model_name ORDER BY model_name",
            {**search.parameters, "after": after, "at_once": at_once},
        )
        return [str(row["model_name"]) for row in rows], sum(row["n"] for row in rows) < at_once

    def _among(
        self,
        subject: Subject,
        search: Search,
        names: list[str],
        behind: str,
        given: Mapping[str, Any],
        size: int | None,
        order: tuple[str, ...] | None = None,
        offset: int = 0,
    ) -> Rows:
        if not names:
            return []
        # The bounds tell the reader of files where to look.
        events = self._query(
            "SELECT * FROM registry_events WHERE model_name BETWEEN $low AND $high AND model_name IN "
            "(SELECT UNNEST($names))",
            {"names": names, "low": names[0], "high": names[-1]},
            self._reading,
        )
        # Not by a condition: it wouldn't get beneath each of the folds that views are made of.
        alone = Reading(instead={REGISTRY_EVENTS.name: events.cast(REGISTRY_EVENTS.arrow_schema())})
        return self._asked(subject, search, behind, given, order or subject.order, size, offset, alone)

    def _asked(
        self,
        subject: Subject,
        search: Search,
        condition: str,
        parameters: Mapping[str, Any],
        order: tuple[str, ...],
        size: int | None,
        offset: int,
        reading: Reading | None = None,
    ) -> Rows:
        limit = "" if size is None else f" LIMIT {size}"
        return self._ask(
            f"SELECT {', '.join(subject.columns)} FROM {subject.view} {search.joins} WHERE ({search.where}) "
            f"AND {condition} ORDER BY {', '.join(order)}{limit} OFFSET {offset}",
            {**search.parameters, **parameters},
            reading,
        )

    def _ask(self, sql: str, parameters: Mapping[str, Any], reading: Reading | None = None) -> Rows:
        return list(self._query(sql, parameters, reading or self._reading).to_pylist())

    def _query(self, sql: str, parameters: Mapping[str, Any], reading: Reading | None) -> pa.Table:
        # Values of marks that aren't there would be refused.
        used = set(re.findall(r"\$(\w+)", sql))
        given = {mark: value for mark, value in parameters.items() if mark in used}
        return self._engine.query(sql, reading=reading, parameters=given)
