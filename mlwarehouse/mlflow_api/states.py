"""What a run is now: its identity, state, latest metrics, params, tags and inputs, as MLflow's JSON tells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.query.references import References
from mlwarehouse.query.scoping import run_condition

CONTEXT_TAG = "mlflow.data.context"
"""The tag of an input that says what it was used for."""

CLIENT_USER_TAG = "mlwarehouse.userId"
"""The tag of a run that keeps what a client calls its user, where the server knows better who asks; it isn't shown."""

_INFO = "number, run_id, experiment_id, run_name, user_id, status, lifecycle_stage, started_at, ended_at, attempt"


@dataclass
class RunState:
    """One run.

    Attributes:
        run_id: Its id.
        experiment_id: Its experiment.
        name: Its name.
        user_id: Who started it.
        status: Its status.
        lifecycle_stage: ``active`` or ``deleted``.
        start_time: Milliseconds since the epoch.
        end_time: Likewise; None while it runs.
        attempt: Counts its starts.
        metrics: The latest point of each series: value, timestamp in milliseconds, step.
        params: Texts by key.
        tags: Likewise.
        inputs: Its datasets, as MLflow's JSON.
        model_inputs: The logged models that it uses, likewise.
        outputs: The logged models that it made, likewise.
    """

    run_id: str
    experiment_id: str
    name: str | None
    user_id: str | None
    status: str
    lifecycle_stage: str
    start_time: int
    end_time: int | None = None
    attempt: int = 0
    metrics: dict[str, tuple[float, int, int]] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    model_inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)

    def note_point(self, key: str, value: float, timestamp: int, step: int) -> None:
        """Take a point in: the latest is the largest by step, time and value, NaN counting as the largest value."""
        last = self.metrics.get(key)
        if last is None or _rank(value, timestamp, step) > _rank(*last):
            self.metrics[key] = (value, timestamp, step)

    def note_input(self, written: dict[str, Any]) -> bool:
        """Take an input in, and say whether it is new: one dataset is one input in each context."""
        named = _identity(written)
        if any(_identity(known) == named for known in self.inputs):
            return False
        self.inputs.append(written)
        return True

    def info(self, artifact_root: str) -> dict[str, Any]:
        """The run's identity and state."""
        values = {
            "run_uuid": self.run_id,
            "experiment_id": self.experiment_id,
            "run_name": self.name or "",
            "user_id": self.tags.get(CLIENT_USER_TAG) or self.user_id or "",
            "status": self.status,
            "start_time": self.start_time,
            "end_time": self.end_time,
            "artifact_uri": f"{artifact_root}/{self.run_id}/artifacts",
            "lifecycle_stage": self.lifecycle_stage,
            "run_id": self.run_id,
        }
        return {name: value for name, value in values.items() if value is not None}

    def told(self, artifact_root: str) -> dict[str, Any]:
        """The whole run."""
        lists = {
            "metrics": [
                {"key": key, "value": number(value), "timestamp": timestamp, "step": step}
                for key, (value, timestamp, step) in self.metrics.items()
            ],
            "params": [{"key": key, "value": value} for key, value in self.params.items()],
            "tags": [{"key": k, "value": v} for k, v in self.tags.items() if k != CLIENT_USER_TAG],
        }
        return {
            "info": self.info(artifact_root),
            "data": {name: entries for name, entries in lists.items() if entries},
            "inputs": {
                **({"dataset_inputs": self.inputs} if self.inputs else {}),
                **({"model_inputs": self.model_inputs} if self.model_inputs else {}),
            },
            **({"outputs": {"model_outputs": self.outputs}} if self.outputs else {}),
        }


def number(value: float) -> float | str:
    """A number as protocol buffers' JSON has it."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def load_state(engine: Engine, reading: Reading, run_id: str) -> RunState | None:
    """One run with all that it has; None where there is none."""
    references = References()
    rows = engine.query(
        f"SELECT {_INFO} FROM numbered_runs WHERE {run_condition([run_id], references)}",
        reading=reading,
        parameters=references.parameters,
    )
    states = states_of(engine, reading, rows)
    return states[0] if states else None


def states_of(engine: Engine, reading: Reading, rows: pa.Table) -> list[RunState]:
    """Runs with all that they have.

    Args:
        engine: Answers the questions.
        reading: The state to look at.
        rows: A row a run, with the columns of the view `runs` and ``number``.
    """
    starts, ends = milliseconds(rows.column("started_at")), milliseconds(rows.column("ended_at"))
    states = [
        RunState(
            run_id=row["run_id"],
            experiment_id=row["experiment_id"],
            name=row["run_name"],
            user_id=row["user_id"],
            status=row["status"],
            lifecycle_stage=row["lifecycle_stage"],
            start_time=start or 0,
            end_time=end,
            attempt=row["attempt"],
        )
        for row, start, end in zip(
            rows.drop_columns(["number", "started_at", "ended_at"]).to_pylist(), starts, ends, strict=True
        )
    ]
    if states:
        numbers = rows.column("number").to_pylist()
        _add_details(engine, reading, dict(zip(numbers, states, strict=True)))
        by_id = {s.run_id: s for s in states}
        _add_inputs(engine, reading, by_id)
        _add_models(engine, reading, by_id)
    return states


def milliseconds(column: pa.ChunkedArray) -> list[int | None]:
    """Times as whole milliseconds since the epoch."""
    times = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_pylist()
    return [None if t is None else t // 1000 for t in times]


def _add_details(engine: Engine, reading: Reading, states: dict[Any, RunState]) -> None:
    references = References()
    where = run_condition(list(states), references, column="number")
    # One question: each costs as much as what it finds.
    found = engine.query(
        f"""
        SELECT number, 1 AS kind, key, value, NULL AS last, NULL AS last_at, NULL AS last_step
        FROM numbered_params WHERE {where}
        UNION ALL
        SELECT number, 2 AS kind, key, value, NULL AS last, NULL AS last_at, NULL AS last_step
        FROM numbered_tags WHERE {where}
        UNION ALL
        SELECT number, 3 AS kind, series AS key, NULL AS value, last, last_at, last_step
        FROM numbered_metric_summaries WHERE {where}
        ORDER BY kind, key""",
        reading=reading,
        parameters=references.parameters,
    )
    columns = [found.column(c).to_pylist() for c in ("number", "kind", "key", "value", "last", "last_step")]
    for place, kind, key, value, last, at, step in zip(
        *columns[:5], milliseconds(found.column("last_at")), columns[5], strict=True
    ):
        state = states[place]
        if kind == 3:
            state.metrics[key] = (last, at or 0, step)
        else:
            (state.params if kind == 1 else state.tags)[key] = value


def _add_inputs(engine: Engine, reading: Reading, states: dict[str, RunState]) -> None:
    references = References()
    rows = engine.query(
        "SELECT run_id, name, digest, context, source_type, source, schema, profile FROM inputs "
        f"WHERE {run_condition(list(states), references)} ORDER BY run_id, logged_at, name, digest, context",
        reading=reading,
        parameters=references.parameters,
    )
    for row in rows.to_pylist():
        states[row["run_id"]].inputs.append(input_of(row))


def _add_models(engine: Engine, reading: Reading, states: dict[str, RunState]) -> None:
    references = References()
    rows = engine.query(
        "SELECT DISTINCT run_id, kind, model_id, step FROM logged_model_events WHERE kind IN ('produced', 'used') AND "
        f"{run_condition(list(states), references)} ORDER BY run_id, step, model_id",
        reading=reading,
        parameters=references.parameters,
    )
    for row in rows.to_pylist():
        state, linked = states[row["run_id"]], {"model_id": row["model_id"]}
        if row["kind"] == "used":
            state.model_inputs.append(linked)
        else:
            state.outputs.append({**linked, "step": row["step"] or 0})


def input_of(row: dict[str, Any]) -> dict[str, Any]:
    """A dataset that a run used, as MLflow's JSON, from its row."""
    names = ("name", "digest", "source_type", "source", "schema", "profile")
    dataset = {name: row[name] for name in names if row[name] is not None}
    tags = [] if row["context"] is None else [{"key": CONTEXT_TAG, "value": row["context"]}]
    return {**({"tags": tags} if tags else {}), "dataset": dataset}


def _identity(written: dict[str, Any]) -> Sequence[Any]:
    return written["dataset"].get("name"), written["dataset"].get("digest"), written.get("tags", [])


def _rank(value: float, timestamp: int, step: int) -> tuple[int, int, bool, float]:
    is_nan = value != value
    return step, timestamp, is_nan, 0.0 if is_nan else value
