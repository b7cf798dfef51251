"""What each report must say about generated runs, computed with pandas and numpy, by other ways than SQL."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from tests.reports.data import MadeRun, number
from tests.views.rows import NOON

Rows = list[dict[str, Any]]
SEEDS = ("seed", "random_seed", "random_state")


def time_of(seconds: float) -> dt.datetime:
    return NOON + dt.timedelta(microseconds=round(seconds * 1e6))


def day_of(seconds: float) -> dt.datetime:
    return time_of(seconds).replace(hour=0, minute=0, second=0, microsecond=0)


def week_of(seconds: float) -> dt.datetime:
    day = day_of(seconds)
    return day - dt.timedelta(days=day.weekday())


def among(runs: Sequence[MadeRun], experiments: Sequence[str] | None) -> list[MadeRun]:
    return [r for r in runs if r.counts and (experiments is None or r.experiment_name in experiments)]


def is_better(value: float, other: float | None, direction: str) -> bool:
    return other is None or (value < other if direction == "min" else value > other)


def progress(runs: Sequence[MadeRun], direction: str, experiments: Sequence[str] | None = None) -> Rows:
    reached = sorted(
        (r for r in among(runs, experiments) if r.best(direction) is not None), key=lambda r: (r.reached_at, r.run_id)
    )
    result: Rows = []
    holder: MadeRun | None = None
    for day in sorted({day_of(r.reached_at) for r in reached}):
        today = [r for r in reached if day_of(r.reached_at) == day]
        n_records = 0
        for run in today:
            value = run.best(direction)
            assert value is not None
            if is_better(value, holder and holder.best(direction), direction):
                holder, n_records = run, n_records + 1
        assert holder is not None
        values = [v for r in today if (v := r.best(direction)) is not None]
        result.append(
            {
                "day": day,
                "n_runs": len(today),
                "n_records": n_records,
                "best_of_day": min(values) if direction == "min" else max(values),
                "best": holder.best(direction),
                "run_id": holder.run_id,
                "run_name": f"name-{holder.run_id}",
                "experiment_name": holder.experiment_name,
                "user_id": holder.user_id,
                "step": holder.points.index(holder.best(direction)),  # type: ignore[arg-type]
                "reached_at": time_of(holder.reached_at),
            }
        )
    return result


def by_week(runs: Sequence[MadeRun]) -> dict[tuple[Any, ...], list[MadeRun]]:
    groups: dict[tuple[Any, ...], list[MadeRun]] = {}
    for run in runs:
        groups.setdefault((week_of(run.started_at), run.experiment_id, run.user_id), []).append(run)
    return groups


def throughput(runs: Sequence[MadeRun]) -> Rows:
    result = []
    for (week, experiment, user), group in by_week(among(runs, None)).items():
        ended = [r.duration_s for r in group if r.is_ended]
        outcomes = pd.Series([r.outcome for r in group]).value_counts()
        finished = int(outcomes.get("finished", 0))
        row: dict[str, Any] = {
            "week": week,
            "experiment_id": experiment,
            "experiment_name": group[0].experiment_name,
            "user_id": user,
            "n_runs": len(group),
            "n_ended": len(ended),
            "n_finished": finished,
            "n_failed": int(outcomes.get("failed", 0)),
            "n_killed": int(outcomes.get("killed", 0)),
            "n_lost": int(outcomes.get("lost", 0)),
            "success_share": finished / len(ended) if ended else None,
            "hours": sum(ended) / 3600,
        }
        for name, q in (("duration_p10_s", 0.1), ("duration_p50_s", 0.5), ("duration_p90_s", 0.9)):
            row[name] = float(np.quantile(ended, q)) if ended else None
        result.append(row)
    return result


def seeds(runs: Sequence[MadeRun], stat: str, outcomes: Sequence[str] = ("finished",)) -> Rows:
    groups: dict[Any, list[MadeRun]] = {}
    for run in among(runs, None):
        if run.outcome in outcomes:
            config = frozenset((k, v) for k, v in run.params.items() if k not in SEEDS)
            groups.setdefault((run.experiment_id, config), []).append(run)
    result = []
    for (experiment, config), group in groups.items():
        given = [v for r in group if (v := r.stat(stat)) is not None]
        values = np.array([v for v in given if math.isfinite(v)])
        n = len(values)
        std = float(values.std(ddof=1)) if n > 1 else None
        lower, upper = None, None
        if n > 1 and std is not None:
            half = float(stats.t.ppf(0.975, n - 1)) * std / math.sqrt(n)
            lower, upper = float(values.mean()) - half, float(values.mean()) + half
        result.append(
            {
                "experiment_id": experiment,
                "experiment_name": group[0].experiment_name,
                "config": ", ".join(sorted(f"{k}={v}" for k, v in config)),
                "n_runs": len(group),
                "n": n,
                "n_not_finite": len(given) - n,
                "mean": float(values.mean()) if n else None,
                "std": std,
                "lower": lower,
                "upper": upper,
                "min": float(values.min()) if n else None,
                "max": float(values.max()) if n else None,
            }
        )
    return result


def trials(runs: Sequence[MadeRun], experiments: Sequence[str] | None = None) -> dict[tuple[str, str], list[MadeRun]]:
    """The sweeps' runs in order; a run in which another is nested, deleted or not, is no trial."""
    parents = {r.parent for r in runs if r.parent}
    groups: dict[tuple[str, str], list[MadeRun]] = {}
    for run in among(runs, None):
        if run.run_id not in parents:
            sweep = ("run", run.parent) if run.parent else ("experiment", run.experiment_id)
            groups.setdefault(sweep, []).append(run)
    for group in groups.values():
        group.sort(key=lambda r: (r.started_at, r.run_id))
    if experiments is not None:
        groups = {k: [r for r in g if r.experiment_name in experiments] for k, g in groups.items()}
    return {k: g for k, g in groups.items() if g}


def sweep_trials(runs: Sequence[MadeRun], direction: str) -> Rows:
    result = []
    for (kind, sweep), group in trials(runs).items():
        best, hours = None, 0.0
        for place, run in enumerate(group, start=1):
            value = run.best(direction)
            is_record = value is not None and is_better(value, best, direction)
            best, hours = value if is_record else best, hours + run.hours
            result.append(
                {
                    "sweep_type": kind,
                    "sweep_id": sweep,
                    "sweep_name": f"name-{sweep}" if kind == "run" else run.experiment_name,
                    "trial": place,
                    "run_id": run.run_id,
                    "run_name": f"name-{run.run_id}",
                    "outcome": run.outcome,
                    "hours": run.hours,
                    "hours_so_far": hours,
                    "value": value,
                    "best": best,
                    "is_record": is_record,
                }
            )
    return result


def sweeps(runs: Sequence[MadeRun], direction: str) -> Rows:
    result = []
    for (kind, sweep), group in trials(runs).items():
        frame = pd.DataFrame(
            {
                "run_id": [r.run_id for r in group],
                "outcome": [r.outcome for r in group],
                "hours": [r.hours for r in group],
                "value": pd.Series([r.best(direction) for r in group], dtype=float),
            }
        )
        counts = frame["outcome"].value_counts()
        n = {o: int(counts.get(o, 0)) for o in ("finished", "failed", "killed", "lost")}
        n_ended = n["finished"] + n["failed"] + n["killed"]
        valued = frame.dropna(subset="value")
        median = valued["value"].median() if len(valued) else None
        first = (valued["value"].idxmin() if direction == "min" else valued["value"].idxmax()) if len(valued) else None
        stopped = float(frame.loc[frame["outcome"].isin(["failed", "killed"]), "hours"].sum())
        worse = frame["value"].isna()
        if median is not None:
            worse = worse | (frame["value"] > median if direction == "min" else frame["value"] < median)
        vain = float(frame.loc[worse & (frame["outcome"] == "finished"), "hours"].sum())
        hours = float(frame["hours"].sum())
        result.append(
            {
                "sweep_type": kind,
                "sweep_id": sweep,
                "sweep_name": f"name-{sweep}" if kind == "run" else group[0].experiment_name,
                "n_trials": len(group),
                **{f"n_{o}": count for o, count in n.items()},
                "stopped_share": (n["failed"] + n["killed"]) / n_ended if n_ended else None,
                "n_valued": len(valued),
                "median": median,
                "best": None if first is None else valued["value"][first],
                "best_run_id": None if first is None else frame["run_id"][first],
                "best_trial": None if first is None else int(first) + 1,
                "hours_to_best": None if first is None else float(frame["hours"][: int(first) + 1].sum()),
                "hours": hours,
                "hours_stopped": stopped,
                "hours_below_median": vain,
                "wasted_share": (stopped + vain) / hours if hours else None,
            }
        )
    return result


def importance_inputs(runs: Sequence[MadeRun], stat: str) -> Rows:
    return [
        {
            "run_id": r.run_id,
            "experiment_name": r.experiment_name,
            "param": key,
            "param_text": text,
            "param_number": number(text),
            "value": value,
        }
        for r in among(runs, None)
        if r.outcome == "finished" and (value := r.stat(stat)) is not None and math.isfinite(value)
        for key, text in r.params.items()
    ]


def importance(runs: Sequence[MadeRun], stat: str) -> Rows:
    frame = pd.DataFrame(
        importance_inputs(runs, stat), columns=["run_id", "param", "param_text", "param_number", "value"]
    )
    result = []
    for param, group in frame.groupby("param"):
        numbers = group[np.isfinite(group["param_number"].astype(float))]
        varies = numbers["param_number"].nunique() > 1 and numbers["value"].nunique() > 1
        rho = stats.spearmanr(numbers["param_number"].astype(float), numbers["value"]).statistic if varies else None
        result.append(
            {
                "param": param,
                "n_runs": len(group),
                "n_values": group["param_text"].nunique(),
                "n": len(numbers),
                "spearman": None if rho is None else float(rho),
            }
        )
    return result


def cost(runs: Sequence[MadeRun], now: float, prices: tuple[float, float, float]) -> Rows:
    result = []
    for (week, experiment, user), group in by_week(among(runs, None)).items():
        total = dict.fromkeys(["hours", "machine_hours", "gpu_hours", "gpu_busy_hours", "core_hours"], 0.0)
        for run in group:
            hours = run.hours if run.outcome != "running" else max(now - run.started_at, 0.0) / 3600
            total["hours"] += hours
            total["machine_hours"] += hours * max(run.hosts, 1)
            total["gpu_hours"] += hours * len(run.gpus) * run.hosts
            total["gpu_busy_hours"] += hours * sum(run.gpus) * run.hosts
            total["core_hours"] += hours * run.busy_cores * run.hosts
        used = (total["machine_hours"], total["gpu_hours"], total["core_hours"])
        result.append(
            {
                "week": week,
                "experiment_id": experiment,
                "experiment_name": group[0].experiment_name,
                "user_id": user,
                "n_runs": len(group),
                "n_unknown": sum(r.is_lost for r in group),
                "n_without_system_metrics": sum(r.hosts == 0 for r in group),
                **total,
                "cost": sum(p * u for p, u in zip(prices, used, strict=True)),
            }
        )
    return result


def changes(runs: Sequence[MadeRun], direction: str, since: float, until: float) -> Rows:
    """Those of runs."""
    result: Rows = []

    def add(at: float, kind: str, run: MadeRun, value: float | None, before: float | None) -> None:
        if since <= at < until:
            result.append(
                {
                    "at": time_of(at), "kind": kind, "experiment_name": run.experiment_name, "run_id": run.run_id,
                    "run_name": f"name-{run.run_id}", "model_name": None, "version": None, "label": None,
                    "actor": run.user_id, "value": value, "before": before,
                }
            )  # fmt: skip

    best: dict[str, float] = {}
    for run in sorted(among(runs, None), key=lambda r: (r.reached_at, r.run_id)):
        if run.is_ended:
            add(run.ended_at, f"run_{run.outcome}", run, run.hours, None)
        value, before = run.best(direction), best.get(run.experiment_id)
        if value is not None and is_better(value, before, direction):
            add(run.reached_at, "new_best", run, value, before)
            best[run.experiment_id] = value
    return result
