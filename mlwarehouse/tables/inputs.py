"""Datasets that runs used."""

from __future__ import annotations

from mlwarehouse.tables.spec import Column, TableSpec

INPUT_EVENTS = TableSpec(
    name="input_events",
    grain="One dataset logged as an input of a run.",
    columns=(
        Column("run_id", "string", "The run.", nullable=False),
        Column("name", "string", "The dataset's name.", nullable=False),
        Column("digest", "string", "A short digest of its content, or as given.", nullable=False),
        Column("context", "string", "What it was used for, such as `training`."),
        Column("source_type", "string", "The kind of place it came from."),
        Column("source", "string", "Where it came from, as text or JSON."),
        Column("schema", "string", "Its columns and types as JSON."),
        Column("profile", "string", "Row count and the like as JSON."),
    ),
    sort_by=("run_id", "name", "recorded_at", "writer_id", "writer_seq"),
    rules=("The same dataset (name and digest) logged again to a run with the same context is one input.",),
)
