-- purpose: The registry's events that still count: those of a model since its last deletion.
-- grain: One change of a registered model.
-- depends: registry_events
-- column name: The registered model.
-- column seq: Numbers the changes of one model.
-- column kind: What changed, as in `registry_events`.
-- column version: The model version it concerns; null when it concerns the model.
-- column alias: The alias, for `alias_set` and `alias_deleted`.
-- column stage: The stage moved to, for `stage_set`.
-- column key: The tag's key, for `tag_set`.
-- column value: The tag's value or the description's text.
-- column source: Where the version's files are.
-- column run_id: The run that made the version.
-- column digest: The digest of the model package.
-- column actor: Who did it.
-- column event_at: When it happened.

WITH deletions AS (
    SELECT
        model_name,
        MAX(seq) AS last_seq
    FROM registry_events
    WHERE kind = 'model_deleted'
    GROUP BY model_name
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
    events.event_at
FROM registry_events AS events
LEFT JOIN deletions ON events.model_name = deletions.model_name
WHERE events.seq > COALESCE(deletions.last_seq, 0)
