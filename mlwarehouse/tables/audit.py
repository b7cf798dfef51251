"""Who was allowed, or refused, to do what."""

from __future__ import annotations

from mlwarehouse.tables.spec import Column, TableSpec

AUDIT = TableSpec(
    name="audit",
    grain="One decision about a request to change something governed.",
    columns=(
        Column("actor", "string", "Who asked.", nullable=False),
        Column("action", "string", "What was asked, such as `register_model` or `set_model_alias`.", nullable=False),
        Column("object", "string", "What it was asked of, such as `models:/sentiment/3`.", nullable=False),
        Column("outcome", "string", "`allowed` or `refused`.", nullable=False),
        Column("detail", "string", "The request's arguments, and the reason of a refusal, as JSON."),
    ),
    sort_by=("recorded_at", "writer_id", "writer_seq"),
)
