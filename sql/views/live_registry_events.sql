-- purpose: The registry's events that still count: those of a model since it was last deleted or given another name, but for deletions that were taken back.
-- grain: One change of a registered model.
-- depends: registry_events
-- column name: The registered model.
-- column seq: Numbers the changes of one model.
-- column kind: What changed, as in `registry_events`.
-- column version: The model version it concerns; null when it concerns the model.
-- column alias: The alias, for `alias_set` and `alias_deleted`.
-- column stage: The stage moved to, for `stage_set`.
-- column key: The tag's key, for `tag_set`; the number of the event that this one is about.
-- column value: The tag's value, or the text of a description or comment.
-- column source: Where the version's files are.
-- column run_id: The run that made the version.
-- column digest: The digest of the model package.
-- column actor: Who did it.
-- column comment: Why, in the actor's words.
-- column event_at: When it happened.

WITH taken_back AS (
    SELECT
        model_name,
        key
    FROM registry_events
    WHERE kind = 'model_restored'
),

deletions AS (
    SELECT
        ends.model_name,
        MAX(ends.seq) AS last_seq
    FROM registry_events AS ends
    LEFT JOIN taken_back ON ends.model_name = taken_back.model_name AND CAST(ends.seq AS VARCHAR) = taken_back.key
    WHERE ends.kind IN ('model_deleted', 'model_renamed') AND taken_back.key IS NULL
    GROUP BY ends.model_name
)

SELECT
    events.model_name AS name,
    events.seq,
    events.kind,
    events.version,
    events.alias,
    events.stage,
    events.key,
    events.value,
    events.source,
    events.run_id,
    events.digest,
    events.actor,
    events.comment,
    events.event_at
FROM registry_events AS events
LEFT JOIN deletions ON events.model_name = deletions.model_name
WHERE events.seq > COALESCE(deletions.last_seq, 0) AND events.model_name NOT LIKE ':%'
