"""Artifacts of runs."""

from __future__ import annotations

from mlwarehouse.tables.spec import Column, TableSpec

ARTIFACT_EVENTS = TableSpec(
    name="artifact_events",
    grain="One file logged to a run under a path.",
    columns=(
        Column("run_id", "string", "The run.", nullable=False),
        Column("path", "string", "Where the file stands among the run's artifacts, with `/`.", nullable=False),
        Column("digest", "string", "SHA-256 of its bytes, hexadecimal; they are stored under it.", nullable=False),
        Column("size_bytes", "long", "Its size.", nullable=False),
        Column("kind", "string", "`file`, or `model` for a file of a model package.", nullable=False),
        Column("attempt", "integer", "The run's attempt that logged it.", nullable=False),
    ),
    sort_by=("run_id", "path", "recorded_at", "writer_id", "writer_seq"),
    rules=("The file at a path is that of the last row in event order; bytes are stored before their row is written.",),
)
