"""Events of runs."""

from __future__ import annotations

from mlwarehouse.tables.spec import Column, TableSpec

RUN_EVENTS = TableSpec(
    name="run_events",
    grain="One change of a run.",
    columns=(
        Column("run_id", "string", "The run: 32 hexadecimal digits when made here.", nullable=False),
        Column(
            "kind",
            "string",
            "`started`, `resumed`, `joined`, `left`, `ended`, `heartbeat`, `renamed`, `deleted`, or `restored`.",
            nullable=False,
        ),
        Column("attempt", "integer", "Counts the starts of a run: 0, then one more for each resume.", nullable=False),
        Column("experiment_id", "string", "The experiment, for `started`."),
        Column(
            "name",
            "string",
            "The run's name from here on, for `started` and `renamed`; who it is, for `joined` and `left`: rank, "
            "host and pid as JSON.",
        ),
        Column("status", "string", "`RUNNING`, `FINISHED`, `FAILED` or `KILLED`, for `started`, `resumed`, `ended`."),
        Column("parent_run_id", "string", "The run it is nested in, for `started`."),
        Column("heartbeat_due_at", "timestamp", "When the next heartbeat is promised, while it runs."),
        Column("actor", "string", "Who did it."),
    ),
    sort_by=("run_id", "recorded_at", "writer_id", "writer_seq"),
    rules=(
        "A run exists from its first `started` row, which fixes its experiment, start time and parent.",
        "Its status is that of the last row that has one, in the order of attempts and then of events; its end is the "
        "last `ended` row's time, unless a `resumed` row follows.",
        "A run is lost when it is `RUNNING` and its last promise of a heartbeat is past.",
        "A process writes all it logs to a run under the writer id of its `started`, `resumed` or `joined` row.",
    ),
)
