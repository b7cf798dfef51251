"""What a visitor has chosen on a page, and its form in the URL.

The query string is the only place a choice lives in: a link reproduces the view, the back button works, and the server
holds nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode

DIRECTIONS = ("min", "max")
GROUPINGS = ("experiment_name", "user_id")
PROGRESS_PATH = "/"
RUNS_PATH = "/runs"


@dataclass(frozen=True)
class ProgressState:
    """The choices on *Project progress*; None stands for the page's default.

    Attributes:
        experiments: Ids of the experiments looked at; empty means all.
        goal: The metric series whose best value counts.
        direction: ``min`` where lower is better, ``max`` where higher is.
        group_by: What the bars of activity are split by, one of `GROUPINGS`.
    """

    experiments: tuple[str, ...] = ()
    goal: str | None = None
    direction: str | None = None
    group_by: str = GROUPINGS[0]

    @classmethod
    def from_search(cls, search: str | None) -> ProgressState:
        """Read a query string; what isn't there or can't be meant is the default."""
        query = _query(search)
        direction = _first(query, "direction")
        group_by = _first(query, "by")
        return cls(
            experiments=tuple(query.get("experiment", ())),
            goal=_first(query, "goal"),
            direction=direction if direction in DIRECTIONS else None,
            group_by=group_by if group_by in GROUPINGS else GROUPINGS[0],
        )

    def to_search(self) -> str:
        """The query string with everything that isn't the default."""
        pairs = [("experiment", e) for e in self.experiments]
        if self.goal is not None:
            pairs.append(("goal", self.goal))
        if self.direction is not None:
            pairs.append(("direction", self.direction))
        if self.group_by != GROUPINGS[0]:
            pairs.append(("by", self.group_by))
        return _search(pairs)


@dataclass(frozen=True)
class RunsState:
    """The choices on *Runs*.

    Attributes:
        experiments: Ids of the experiments looked at; empty means all.
        filter: A filter in the warehouse's filter language; empty means every run.
        order: Pairs of column and ``asc`` or ``desc``, the most important first.
        columns: The grid's columns; None means the page's default.
    """

    experiments: tuple[str, ...] = ()
    filter: str = ""
    order: tuple[tuple[str, str], ...] = ()
    columns: tuple[str, ...] | None = None

    @classmethod
    def from_search(cls, search: str | None) -> RunsState:
        """Read a query string; an order without a direction is ascending."""
        query = _query(search)
        order = []
        for text in query.get("order", ()):
            column, _, direction = text.rpartition(":")
            order.append((column, direction) if column and direction in ("asc", "desc") else (text, "asc"))
        columns = query.get("column")
        return cls(
            experiments=tuple(query.get("experiment", ())),
            filter=_first(query, "filter") or "",
            order=tuple(order),
            columns=tuple(columns) if columns else None,
        )

    def to_search(self) -> str:
        """The query string with everything that isn't the default."""
        pairs = [("experiment", e) for e in self.experiments]
        if self.filter:
            pairs.append(("filter", self.filter))
        pairs += [("order", f"{column}:{direction}") for column, direction in self.order]
        pairs += [("column", c) for c in self.columns or ()]
        return _search(pairs)


def _query(search: str | None) -> dict[str, list[str]]:
    return parse_qs((search or "").removeprefix("?"))


def _first(query: dict[str, list[str]], name: str) -> str | None:
    values = query.get(name)
    return values[0] if values else None


def _search(pairs: list[tuple[str, str]]) -> str:
    return "?" + urlencode(pairs) if pairs else ""
