"""Generated runs, as rows of the tables and as plain objects from which a test computes what reports must say."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field
from typing import Any

DAY = 86_400.0
EXPERIMENTS = {"e1": "alpha", "e2": "beta", "gone": "deleted"}
VALUES = (0.5, 0.25, 1.0, -2.0, 3.0, 0.5, math.nan, math.inf, -math.inf)
METRIC = "val/loss"


@dataclass
class MadeRun:
    """A run: what was logged to it. Times are seconds after the noon of `tests.views.rows`."""

    run_id: str
    experiment_id: str = "e1"
    user_id: str | None = "ana"
    started_at: float = 0.0
    status: str = "FINISHED"
    duration_s: float = 60.0
    parent: str | None = None
    is_deleted: bool = False
    is_lost: bool = False
    params: dict[str, str] = field(default_factory=dict)
    points: list[float] = field(default_factory=list)
    gpus: list[float] = field(default_factory=list)
    hosts: int = 0
    busy_cores: float = 0.0

    @property
    def experiment_name(self) -> str:
        return EXPERIMENTS[self.experiment_id]

    @property
    def counts(self) -> bool:
        return not self.is_deleted and self.experiment_id != "gone"

    @property
    def outcome(self) -> str:
        return "lost" if self.is_lost else self.status.lower()

    @property
    def is_ended(self) -> bool:
        return self.outcome in ("finished", "failed", "killed")

    @property
    def ended_at(self) -> float:
        return self.started_at + self.duration_s

    @property
    def hours(self) -> float:
        return self.duration_s / 3600 if self.is_ended else 0.0

    @property
    def reached_at(self) -> float:
        """The time of the latest point."""
        return self.started_at + len(self.points)

    def stat(self, name: str) -> float | None:
        """A statistic of the metric by its definition; None when it has none."""
        numbers = [v for v in self.points if not math.isnan(v)]
        if not self.points or (name not in ("last", "first") and not numbers):
            return None
        if name in ("last", "first"):
            return self.points[-1 if name == "last" else 0]
        if name == "mean":
            return sum(numbers) / len(numbers)
        return min(numbers) if name == "min" else max(numbers)

    def best(self, direction: str) -> float | None:
        """The best value over all points, where it is finite."""
        value = self.stat(direction)
        return value if value is not None and math.isfinite(value) else None


def rows(runs: list[MadeRun]) -> dict[str, list[dict[str, Any]]]:
    """The runs as rows for `tests.views.rows.tables`."""
    events: dict[str, list[dict[str, Any]]] = {
        "experiment_events": [
            {"experiment_id": i, "kind": "created", "name": name, "at": -90 * DAY} for i, name in EXPERIMENTS.items()
        ]
        + [{"experiment_id": "gone", "kind": "deleted", "at": -89 * DAY}],
        "run_events": [],
        "param_events": [],
        "metrics": [],
    }
    for run in runs:
        started: dict[str, Any] = {
            "run_id": run.run_id, "kind": "started", "experiment_id": run.experiment_id, "name": f"name-{run.run_id}",
            "status": "RUNNING", "actor": run.user_id, "parent_run_id": run.parent, "at": run.started_at,
        }  # fmt: skip
        if run.is_lost:
            started["heartbeat_due_at"] = "2020-01-01T00:00:00Z"
        events["run_events"].append(started)
        if run.is_ended:
            events["run_events"].append(
                {"run_id": run.run_id, "kind": "ended", "status": run.status, "at": run.ended_at}
            )
        if run.is_deleted:
            events["run_events"].append({"run_id": run.run_id, "kind": "deleted", "at": run.ended_at + 1})
        for key, value in run.params.items():
            events["param_events"].append(
                {"run_id": run.run_id, "key": key, "value": value, "value_number": number(value), "at": run.started_at}
            )
        system: list[tuple[str, float, str | None]] = []
        for host in range(run.hosts):
            context = None if run.hosts == 1 else json.dumps({"host": f"h{host}"})
            system.append(("system/cpu_utilization_percentage", 10.0, context))
            system.append(("system/process_cpu_percentage", 100 * run.busy_cores, context))
            for gpu, busy in enumerate(run.gpus):
                system.append((f"system/gpu_{gpu}_memory_usage_megabytes", 1.0, context))
                system.append((f"system/gpu_{gpu}_utilization_percentage", 100 * busy, context))
        points = [(METRIC, v, None, step) for step, v in enumerate(run.points)]
        for key, value, context, step in [*points, *((k, v, c, 0) for k, v, c in system)]:
            events["metrics"].append(
                {"run_id": run.run_id, "key": key, "value": value, "context": context, "step": step,
                 "at": run.started_at + step + 1}
            )  # fmt: skip
    return events


def number(text: str) -> float | None:
    """A param's text as a number, where it is one."""
    try:
        return float(text)
    except ValueError:
        return None


def made_runs(seed: int, n: int) -> list[MadeRun]:
    """Runs at random: few values and times, so that ties are common."""
    chance = random.Random(seed)
    runs: list[MadeRun] = []
    for i in range(n):
        status = chance.choice(["FINISHED"] * 5 + ["FAILED", "KILLED", "RUNNING"])
        tops = [r.run_id for r in runs if r.parent is None]
        params = {"lr": chance.choice(["0.1", "0.01", "-0.0", "0", "auto"]), "seed": str(i)}
        if chance.random() < 0.6:
            params["dim"] = chance.choice(["8", "16", "nan"])
        if chance.random() < 0.1:
            params = {}
        runs.append(
            MadeRun(
                run_id=f"r{i:03}",
                experiment_id=chance.choice(["e1", "e1", "e2", "gone"]),
                user_id=chance.choice(["ana", "bob", None]),
                started_at=chance.choice([0, 0, 1, 2, 5, 9, 30]) * DAY + chance.choice([0.0, 7.5]),
                status=status,
                duration_s=chance.choice([60.0, 61.5, 3600.0, 7200.25]),
                parent=chance.choice(tops) if tops and chance.random() < 0.4 else None,
                is_deleted=chance.random() < 0.1,
                is_lost=status == "RUNNING" and chance.random() < 0.5,
                params=params,
                points=[chance.choice(VALUES) for _ in range(chance.randrange(4))],
                gpus=[chance.choice([0.0, 0.5, 1.0]) for _ in range(chance.randrange(3))],
                hosts=chance.randrange(3),
                busy_cores=chance.choice([0.5, 2.0]),
            )
        )
    return runs
