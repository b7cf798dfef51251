"""Tags of runs."""

from __future__ import annotations

from mlwarehouse.tables.spec import Column, TableSpec

TAG_EVENTS = TableSpec(
    name="tag_events",
    grain="One setting or removal of a run's tag.",
    columns=(
        Column("run_id", "string", "The run.", nullable=False),
        Column("key", "string", "The tag's key.", nullable=False),
        Column("value", "string", "Its value as text; null removes the tag."),
        Column("attempt", "integer", "The run's attempt that set it.", nullable=False),
        Column("actor", "string", "Who did it."),
    ),
    sort_by=("key", "run_id", "recorded_at", "writer_id", "writer_seq"),
    rules=("A tag's value is that of its last row in event order; a null there means that there is no such tag.",),
)
