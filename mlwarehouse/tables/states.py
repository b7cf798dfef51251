"""Which folds are kept, so that a question reads their outcome and not every event.

A kept fold is derived: it makes questions fast and never true. Its view is written as a fold that can be stopped and
taken up again, in common table expressions of fixed names::

    lifted   one row an event, as if it were the only one
    merged   the same columns, by keys, merged by MIN, MAX and SUM: merging what is merged changes nothing
    current  the view's columns of each key

so that the outcome over old events, merged with what new events lift to, is the outcome over all of them. In a kept
fold a run's id is a number, dense and given in the order of the runs' first events: runs of one time lie together,
and joins compare integers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StateSpec:
    """One kept fold.

    Attributes:
        view: The view whose fold it is; its name.
        source: The event table that the view folds.
        keys: What a row stands for; the first is always the run.
        sort_by: The order of rows within a file, in SQL.
    """

    view: str
    source: str
    keys: tuple[str, ...]
    sort_by: tuple[str, ...]


STATES: tuple[StateSpec, ...] = (
    # The newest first: that is what questions ask for, and the others are then skipped.
    StateSpec("runs", "run_events", ("run_id",), ("run_id DESC",)),
    StateSpec("params", "param_events", ("run_id", "key"), ("key", "run_id")),
    StateSpec("tags", "tag_events", ("run_id", "key"), ("key", "run_id")),
    StateSpec("metric_summaries", "metrics", ("run_id", "key", "context"), ("key", "context", "run_id")),
)
"""The kept folds."""

STATES_BY_VIEW: dict[str, StateSpec] = {spec.view: spec for spec in STATES}

NUMBERED: dict[str, str] = {f"numbered_{spec.view}": spec.view for spec in STATES}
"""Views for our own questions: the same rows with ``number`` in place of ``run_id`` (`runs` has both).

A number is the run's id itself where the fold isn't kept; so it means something within one reading only.
"""
