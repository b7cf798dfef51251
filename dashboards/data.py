"""What *Project progress* shows: named questions over the reports in ``sql/reports``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .state import DIRECTIONS, GROUPINGS, ProgressState

if TYPE_CHECKING:
    import pandas as pd

    from .reader import Reader

MAX_VARYING_PARAMS = 5
"""The most params a leaderboard shows beside each run."""

_LOWER_IS_BETTER = re.compile(
    r"loss|err|rmse|mse|mae|mape|perplexity|ppl|wer|cer|fid|nll|latency|time|seconds|_ms$|_s$|distance|regret|bpb|bpc",
    re.I,
)
_HELD_OUT = re.compile(r"(^|[^a-z])(val|valid|validation|test|eval|dev|holdout)([^a-z]|$)", re.IGNORECASE)


def experiments(reader: Reader) -> pd.DataFrame:
    """The experiments that aren't deleted, by name.

    Returns:
        experiment_id, name (text), n_runs (integer: runs that aren't deleted).
    """
    return reader.frame(
        """
        SELECT e.experiment_id, e.name, COUNT(r.run_id) AS n_runs
        FROM experiments AS e LEFT JOIN project_runs AS r ON r.experiment_id = e.experiment_id
        WHERE e.lifecycle_stage = 'active'
        GROUP BY e.experiment_id, e.name ORDER BY e.name
        """
    )


def goals(reader: Reader, experiment_ids: tuple[str, ...]) -> pd.DataFrame:
    """The metric series that can be a goal, those of most runs first.

    Returns:
        series (text), n_runs (integer: runs with a finite value of it).
    """
    where, parameters = among("experiment_id", experiment_ids, "e")
    return reader.frame(
        f"SELECT series, COUNT(*) AS n_runs FROM goal_progress WHERE direction = 'min'{where} "
        "GROUP BY series ORDER BY n_runs DESC, series",
        parameters,
    )


def resolve(reader: Reader, state: ProgressState) -> ProgressState:
    """Put the page's defaults where the visitor has chosen nothing.

    The goal is the series of most runs, held-out ones first; the direction is guessed from the goal's name.
    A goal that the chosen experiments lack stays as it is: the page then says so.
    """
    goal = state.goal or default_goal(goals(reader, state.experiments)["series"])
    direction = state.direction or (default_direction(goal) if goal else None)
    return ProgressState(state.experiments, goal, direction, state.group_by)


def default_goal(series: Iterable[str]) -> str | None:
    """The first series that sounds held out (validation, test), else the first; None when there is none."""
    names = list(series)
    return next(filter(is_held_out, names), names[0] if names else None)


def is_held_out(series: str) -> bool:
    """Whether a metric's name says that it was measured on data held out from training."""
    return _HELD_OUT.search(series) is not None


def default_direction(series: str) -> str:
    """``min`` for a name that sounds like a loss, an error or a time; else ``max``."""
    return "min" if _LOWER_IS_BETTER.search(series) else "max"


def totals(reader: Reader, experiment_ids: tuple[str, ...]) -> pd.DataFrame:
    """The numbers over all chosen runs.

    Returns:
        One row: n_runs, n_ended, n_finished, n_failed, n_killed, n_active, n_lost (integers),
        duration_s (seconds of all ended runs together), first_started_at, last_started_at (UTC or null).
    """
    where, parameters = among("experiment_id", experiment_ids, "e")
    return reader.frame(
        f"""
        SELECT
            COUNT(*) AS n_runs,
            COUNT(*) FILTER (WHERE is_ended) AS n_ended,
            COUNT(*) FILTER (WHERE outcome = 'finished') AS n_finished,
            COUNT(*) FILTER (WHERE outcome = 'failed') AS n_failed,
            COUNT(*) FILTER (WHERE outcome = 'killed') AS n_killed,
            COUNT(*) FILTER (WHERE outcome = 'running') AS n_active,
            COUNT(*) FILTER (WHERE outcome = 'lost') AS n_lost,
            COALESCE(SUM(duration_s), 0.0) AS duration_s,
            MIN(started_at) AS first_started_at,
            MAX(started_at) AS last_started_at
        FROM project_runs WHERE TRUE{where}
        """,
        parameters,
        is_timed=True,
    )


def period(reader: Reader, experiment_ids: tuple[str, ...]) -> str:
    """The calendar unit whose bars fill a chart without crowding it: ``day``, ``week`` or ``month``."""
    row = totals(reader, experiment_ids).iloc[0]
    if row["n_runs"] == 0:
        return "day"
    days = (row["last_started_at"] - row["first_started_at"]).days
    return "day" if days <= 45 else "week" if days <= 730 else "month"


def activity(reader: Reader, experiment_ids: tuple[str, ...], *, group_by: str, unit: str) -> pd.DataFrame:
    """Runs started per calendar unit and group.

    Args:
        reader: The warehouse.
        experiment_ids: The experiments; empty means all.
        group_by: ``experiment_name`` or ``user_id``.
        unit: As `period` returns it.

    Returns:
        starts_at (UTC), series (text: the group's name), n_runs (integer).
    """
    if group_by not in GROUPINGS:
        raise ValueError(group_by)
    where, parameters = among("experiment_id", experiment_ids, "e")
    return reader.frame(
        f"""
        SELECT DATE_TRUNC('{_unit(unit)}', day) AS starts_at, COALESCE({group_by}, 'unknown') AS series,
            CAST(SUM(n_runs) AS BIGINT) AS n_runs
        FROM runs_by_day WHERE TRUE{where}
        GROUP BY DATE_TRUNC('{unit}', day), COALESCE({group_by}, 'unknown') ORDER BY starts_at, series
        """,
        parameters,
    )


def outcomes(reader: Reader, experiment_ids: tuple[str, ...], *, unit: str) -> pd.DataFrame:
    """Runs per calendar unit and outcome.

    Returns:
        starts_at (UTC), outcome (text, as in the report `project_runs`), n_runs (integer).
    """
    where, parameters = among("experiment_id", experiment_ids, "e")
    return reader.frame(
        f"""
        SELECT DATE_TRUNC('{_unit(unit)}', day) AS starts_at, outcome, CAST(SUM(n_runs) AS BIGINT) AS n_runs
        FROM runs_by_day WHERE TRUE{where}
        GROUP BY DATE_TRUNC('{unit}', day), outcome ORDER BY starts_at, outcome
        """,
        parameters,
        is_timed=True,
    )


def progress(reader: Reader, experiment_ids: tuple[str, ...], *, goal: str, direction: str) -> pd.DataFrame:
    """The best value of the goal that each run reached, in the order in which runs reached theirs.

    Returns:
        run_id, run_name, experiment_name, user_id (text), value (float), step (integer), reached_at (UTC).
    """
    where, parameters = among("experiment_id", experiment_ids, "e")
    return reader.frame(
        f"""
        SELECT run_id, run_name, experiment_name, user_id, value, step, reached_at
        FROM goal_progress WHERE series = $goal AND direction = $direction{where} ORDER BY reached_at, run_id
        """,
        {"goal": goal, "direction": _direction(direction), **parameters},
    )


def records(reader: Reader, experiment_ids: tuple[str, ...], *, goal: str, direction: str) -> pd.DataFrame:
    """The runs that beat all earlier runs of the chosen experiments.

    A record over several experiments is also one within its own, so the records of each are all there is to compare.

    Returns:
        run_id, run_name, experiment_name, user_id (text), value (float), step (integer), reached_at (UTC),
        beaten (float: the record before, NaN for the first); the oldest first.
    """
    where, parameters = among("experiment_id", experiment_ids, "e")
    best, better = ("MIN", "<") if _direction(direction) == "min" else ("MAX", ">")
    return reader.frame(
        f"""
        SELECT run_id, run_name, experiment_name, user_id, value, step, reached_at, before AS beaten
        FROM (
            SELECT run_id, run_name, experiment_name, user_id, value, step, reached_at,
                {best}(value) OVER (
                    ORDER BY reached_at, run_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS before
            FROM goal_records WHERE series = $goal AND direction = $direction{where}
        ) AS compared
        WHERE before IS NULL OR value {better} before
        ORDER BY reached_at, run_id
        """,
        {"goal": goal, "direction": direction, **parameters},
    )


def leaderboard(
    reader: Reader, experiment_ids: tuple[str, ...], *, goal: str, direction: str, limit: int = 10
) -> pd.DataFrame:
    """The best runs for the goal, each with the params in which they differ.

    Returns:
        run_id, run_name, experiment_name, user_id (text), value (float), step (integer), reached_at (UTC), then up to
        `MAX_VARYING_PARAMS` columns named ``params.<key>`` (text or None); best first, ties by time and run id.
    """
    where, parameters = among("experiment_id", experiment_ids, "e")
    best = reader.frame(
        f"""
        SELECT run_id, run_name, experiment_name, user_id, value, step, reached_at
        FROM goal_progress WHERE series = $goal AND direction = $direction{where}
        ORDER BY value {"ASC" if _direction(direction) == "min" else "DESC"}, reached_at, run_id LIMIT {int(limit)}
        """,
        {"goal": goal, "direction": direction, **parameters},
    )
    varying = varying_params(reader, tuple(best["run_id"]))
    return best.join(varying.iloc[:, :MAX_VARYING_PARAMS].add_prefix("params."), on="run_id")


def varying_params(reader: Reader, run_ids: tuple[str, ...]) -> pd.DataFrame:
    """The params that aren't the same in all of some runs; one that only some runs have varies too.

    Returns:
        A row per run that has params (index run_id), a column per varying param in order of name, values as text.
    """
    import pandas as pd

    if not run_ids:
        return pd.DataFrame(index=pd.Index([], name="run_id"))
    where, parameters = among("run_id", run_ids, "r")
    long = reader.frame(f"SELECT run_id, key, value FROM params WHERE TRUE{where}", parameters)
    wide = long.pivot(index="run_id", columns="key", values="value").reindex(list(run_ids))
    varies = wide.nunique(dropna=False) > 1
    return wide.loc[:, varies[varies].index.sort_values()].rename_axis(columns=None)


def among(column: str, values: tuple[str, ...], mark: str) -> tuple[str, dict[str, str]]:
    """A condition that a column is one of some values, as text to append to a `WHERE`, and its parameters.

    No values means no condition.
    """
    if not values:
        return "", {}
    parameters = {f"{mark}{i}": value for i, value in enumerate(values)}
    return f" AND {column} IN ({', '.join('$' + name for name in parameters)})", parameters


def _direction(direction: str) -> str:
    if direction not in DIRECTIONS:
        raise ValueError(direction)
    return direction


def _unit(unit: str) -> str:
    if unit not in ("day", "week", "month"):
        raise ValueError(unit)
    return unit
