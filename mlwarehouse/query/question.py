"""A search as it passes through the steps that turn it into SQL.

Each step is one pure function from question to question. Between reading and writing stands the only thing that must
be asked of the tables: which series exist among the names that could be read in two ways.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlglot import exp

from mlwarehouse.entities import ViewType
from mlwarehouse.query.names import WrittenName
from mlwarehouse.query.references import References


@dataclass(frozen=True)
class Scope:
    """Which runs a question is about, before any filter.

    Attributes:
        experiment_ids: Their experiments; None for all active ones, unless `run_ids` says which runs.
        run_ids: Only these runs; None for all.
        view_type: Whether active runs, deleted ones, or both.
    """

    experiment_ids: tuple[str, ...] | None = None
    run_ids: tuple[str, ...] | None = None
    view_type: ViewType = ViewType.ACTIVE_ONLY


@dataclass(frozen=True)
class OrderEntry:
    """One entry of an order-by list."""

    name: WrittenName
    is_descending: bool


@dataclass(frozen=True)
class Question:
    """A search; what is given first, then what the steps add.

    Attributes:
        scope: The runs it is about.
        filter_string: The filter, in the filter language.
        order_by: Names, each with ``ASC`` or ``DESC`` after it or nothing.
        limit: The most runs to find.
        offset: How many of the first runs to leave out.
        attributes: The attributes wanted of each run.
        is_narrow: Whether only the runs' numbers are asked for, and what else a page shows is fetched by them: so where
            an engine keeps it run by run.
        filter: The filter's tree; None when there is none.
        order: The order, read.
        known_series: The series that exist among the doubtful names.
        references: What the filter and the order refer to.
        where: Conditions, all of which must hold, in SQL.
        chosen: Conditions, all of which must hold, on metrics, params and tags that a run must have, in SQL.
        order_terms: The terms of the order, in SQL.
        order_keys: The expressions in them.
        has_ties: Whether runs may be equal in all of the order's terms, so that their ids decide.
        sql: The whole question.
    """

    scope: Scope
    filter_string: str = ""
    order_by: tuple[str, ...] = ()
    limit: int = 1000
    offset: int = 0
    attributes: tuple[str, ...] = ()
    is_narrow: bool = False
    filter: exp.Expr | None = None
    order: tuple[OrderEntry, ...] = ()
    known_series: frozenset[str] = frozenset()
    references: References = field(default_factory=References)
    where: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    order_terms: tuple[str, ...] = ()
    order_keys: tuple[str, ...] = ()
    has_ties: bool = False
    sql: str = ""


Step = Callable[[Question], Question]
"""What each step is."""
