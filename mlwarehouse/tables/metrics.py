"""Metric points of runs."""

from __future__ import annotations

from mlwarehouse.tables.spec import Column, TableSpec

METRICS = TableSpec(
    name="metrics",
    grain="One metric point, as logged; a point logged twice is two rows.",
    columns=(
        Column("run_id", "string", "The run.", nullable=False),
        Column("key", "string", "The metric's name.", nullable=False),
        Column("step", "long", "The x of the point; 0 when none was given.", nullable=False),
        Column("value", "double", "The value; NaN and the infinities are values.", nullable=False),
        Column("context", "string", "The context as JSON with sorted keys, or null when none was given."),
        Column("attempt", "integer", "The run's attempt that logged it.", nullable=False),
    ),
    sort_by=("run_id", "key", "writer_id", "writer_seq"),
    rules=(
        "The latest point of a metric is the largest by (step, event_at, value): MLflow's rule.",
        "Extremes and means skip NaN; a count counts every point.",
    ),
)
