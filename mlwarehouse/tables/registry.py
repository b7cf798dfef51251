"""Events of the model registry."""

from __future__ import annotations

from mlwarehouse.tables.spec import Column, TableSpec

REGISTRY_EVENTS = TableSpec(
    name="registry_events",
    grain="One change in the model registry.",
    columns=(
        Column("model_name", "string", "The registered model.", nullable=False),
        Column("seq", "long", "Numbers the changes of one model from 1 without gaps.", nullable=False),
        Column(
            "kind",
            "string",
            "`model_created`, `version_created`, `alias_set`, `alias_deleted`, `stage_set`, `tag_set`, "
            "`description_set`, `version_deleted` or `model_deleted`.",
            nullable=False,
        ),
        Column("version", "long", "The model version it concerns; null when it concerns the model."),
        Column("alias", "string", "The alias, for `alias_set` and `alias_deleted`."),
        Column("stage", "string", "The stage moved to, for `stage_set`."),
        Column("key", "string", "The tag's key, for `tag_set`."),
        Column("value", "string", "The tag's value (null removes it) or the description's text."),
        Column("source", "string", "Where the version's files are, as `runs:/<run_id>/<path>`."),
        Column("run_id", "string", "The run that made the version."),
        Column("digest", "string", "The digest of the model package, over all its files."),
        Column("actor", "string", "Who did it."),
        Column("comment", "string", "Why, in the actor's words."),
    ),
    sort_by=("model_name", "seq"),
    rules=(
        "All changes of one model are totally ordered by `seq`: the commit that writes number n is refused when "
        "another commit wrote for the same model after the snapshot it was decided on.",
        "Versions of a model are numbered from 1 without gaps or repeats.",
        "An alias points to the version of its last `alias_set` row by `seq`, unless an `alias_deleted` follows.",
    ),
)
