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
            "About a model: `model_created`, `model_deleted`, `model_restored`, `model_renamed`, `renamed_from`. "
            "About a version: `version_created`, `status_set`, `parent_set`, `stage_set`, `version_deleted`, "
            "`version_restored`. About aliases: `alias_set`, `alias_deleted`. About a model or a version: `tag_set`, "
            "`description_set`, `comment_added`, `comment_edited`, `comment_deleted`. About moves: "
            "`transition_requested`, `request_approved`, `request_rejected`, `request_cancelled`, `gate_checked`. "
            "Under the name `:policies`: `policy_set`, `policy_removed`. Under `:webhooks`: `webhook_set`, "
            "`webhook_removed`, `webhook_failed`.",
            nullable=False,
        ),
        Column("version", "long", "The model version it concerns; null when it concerns the model."),
        Column("alias", "string", "The alias, for `alias_set` and `alias_deleted`."),
        Column("stage", "string", "The stage moved to, for `stage_set`."),
        Column(
            "key",
            "string",
            "The tag's key, for `tag_set`; the gate's name, for `gate_checked`; the policy's, for policies; the id, "
            "for webhooks. For a kind that is about an earlier event, that one's `seq`: the comment's or request's, or "
            "that of the deletion which is taken back. For `renamed_from`, the highest version number given so far.",
        ),
        Column(
            "value",
            "string",
            "The tag's value (null removes it); the text of a description or comment; the other name, for a rename; "
            "the version that a version was made from, as `models:/<name>/<version>`, for `parent_set`; the status, "
            "for `status_set`; `passed` or `failed`, for `gate_checked`; the policy, the webhook, or what failed, as "
            "JSON.",
        ),
        Column("source", "string", "Where the version's files are, as `runs:/<run_id>/<path>`."),
        Column("run_id", "string", "The run that made the version."),
        Column("digest", "string", "The digest of the model package, over all its files."),
        Column("actor", "string", "Who did it."),
        Column("comment", "string", "Why, in the actor's words."),
    ),
    sort_by=("model_name", "seq"),
    # Most questions are about one model, of a million.
    row_group_rows=32 * 1024,
    rules=(
        "All changes of one model are totally ordered by `seq`: the commit that writes number n is refused when "
        "another commit wrote for the same model after the snapshot it was decided on.",
        "Versions of a model are numbered from 1 without gaps or repeats.",
        "An alias points to the version of its last `alias_set` row by `seq`, unless an `alias_deleted` or the "
        "version's `version_deleted` follows.",
        "A rename writes `model_renamed` under the old name; and under the new one, in the same commit, all that the "
        "model has been through, with its own times and actors, and then `renamed_from`. Rows so copied have a "
        "`writer_id` that begins with `rename:`.",
    ),
)
