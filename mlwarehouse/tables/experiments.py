"""Events of experiments."""

from __future__ import annotations

from mlwarehouse.tables.spec import Column, TableSpec

EXPERIMENT_EVENTS = TableSpec(
    name="experiment_events",
    grain="One change of an experiment.",
    columns=(
        Column("experiment_id", "string", "The experiment.", nullable=False),
        Column("kind", "string", "`created`, `renamed`, `deleted`, `restored`, or `tag_set`.", nullable=False),
        Column("name", "string", "The experiment's name from here on, for `created` and `renamed`."),
        Column("key", "string", "The tag's key, for `tag_set`."),
        Column("value", "string", "The tag's value, for `tag_set`; null removes the tag."),
        Column("actor", "string", "Who did it."),
    ),
    sort_by=("experiment_id", "recorded_at", "writer_id", "writer_seq"),
    rules=(
        "An experiment exists from its first `created` row; later `created` rows of the same id change nothing.",
        "The id of an experiment made here is derived from its name, so two machines that create the same name "
        "at once create the same experiment.",
        "The name is that of the last `renamed` row in event order, or else of the first `created` row.",
    ),
)
