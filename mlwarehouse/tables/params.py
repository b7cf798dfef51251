"""Params of runs."""

from __future__ import annotations

from mlwarehouse.tables.spec import Column, TableSpec

PARAM_EVENTS = TableSpec(
    name="param_events",
    grain="One setting of a param.",
    columns=(
        Column("run_id", "string", "The run.", nullable=False),
        Column("key", "string", "The param's name.", nullable=False),
        Column("value", "string", "Its value as text, of any length.", nullable=False),
        Column("value_number", "double", "The same as a number, where the text is one."),
        Column("attempt", "integer", "The run's attempt that set it.", nullable=False),
    ),
    sort_by=("key", "run_id", "recorded_at", "writer_id", "writer_seq"),
    rules=("A param's value is that of its first row in event order; later rows are kept and change nothing.",),
)
