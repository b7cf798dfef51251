"""From the state that a run has in a source to the events that bring it about here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

EVENT_COLUMNS: Mapping[str, pa.DataType] = {
    "run_id": pa.string(),
    "kind": pa.string(),
    "experiment_id": pa.string(),
    "name": pa.string(),
    "status": pa.string(),
    "parent_run_id": pa.string(),
    "actor": pa.string(),
    "event_at": pa.int64(),
}


def run_events(
    runs: pa.Table, known: Mapping[str, Mapping[str, Any]], experiments: Mapping[str, str], now: int
) -> pa.Table:
    """The events that are missing.

    Args:
        runs: As in `Batch.runs`.
        known: The state in which imports left runs, by run.
        experiments: Experiment ids by their keys in the source.
        now: Microseconds since the epoch, for what has no time of its own.

    Returns:
        Columns of `EVENT_COLUMNS`; the events of a run in their order.
    """
    rows: dict[str, list[Any]] = {name: [] for name in EVENT_COLUMNS}

    def add(run_id: str, kind: str, at: int, **given: str | None) -> None:
        for name, column in rows.items():
            column.append(given.get(name))
        rows["run_id"][-1], rows["kind"][-1], rows["event_at"][-1] = run_id, kind, at

    for run in runs.to_pylist():
        run_id, status, end = run["run_id"], run["status"], run["ended_at"]
        there = known.get(run_id)
        if there is None:
            add(
                run_id,
                "started",
                run["started_at"],
                experiment_id=experiments[run["experiment"]],
                name=run["name"],
                # One that ended nobody knows when has its status from the start.
                status=status if end is None else "RUNNING",
                parent_run_id=run["parent_run_id"],
                actor=run["user"],
            )
            there = {"status": status if end is None else "RUNNING", "name": run["name"]}
        known_end = there.get("ended_at") if there.get("last_turn") == "ended" else None
        if (status, end) != (there["status"], known_end):
            add(run_id, "resumed" if end is None else "ended", now if end is None else end, status=status)
        if run["name"] is not None and run["name"] != there["name"]:
            add(run_id, "renamed", now, name=run["name"])
        if (run["deleted_at"] is not None) != (there.get("last_switch") == "deleted"):
            add(run_id, "restored" if run["deleted_at"] is None else "deleted", run["deleted_at"] or now)
    return pa.table({name: pa.array(rows[name], type_) for name, type_ in EVENT_COLUMNS.items()})
