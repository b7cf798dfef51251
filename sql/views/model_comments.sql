-- purpose: The comments on registered models and their versions.
-- grain: One comment that wasn't deleted.
-- depends: live_registry_events, model_versions
-- column name: The registered model.
-- column version: The version the comment is on; null for one on the model.
-- column comment_id: Its number within the model.
-- column text: Markdown, as last edited.
-- column user_id: Who wrote it.
-- column created_at: When it was written.
-- column updated_at: When it was last edited, or written.

WITH folded AS (
    SELECT
        name,
        CASE WHEN kind = 'comment_added' THEN CAST(seq AS VARCHAR) ELSE key END AS id,
        ARG_MIN({'version': version, 'actor': actor, 'event_at': event_at, 'seq': seq}, seq) AS first_event,
        ARG_MAX({'kind': kind, 'value': value, 'event_at': event_at}, seq) AS last_event
    FROM live_registry_events
    WHERE kind IN ('comment_added', 'comment_edited', 'comment_deleted')
    GROUP BY name, CASE WHEN kind = 'comment_added' THEN CAST(seq AS VARCHAR) ELSE key END
),

comments AS (
    SELECT
        name,
        first_event.version AS version,
        first_event.seq AS comment_id,
        last_event.value AS text,
        first_event.actor AS user_id,
        first_event.event_at AS created_at,
        last_event.event_at AS updated_at
    FROM folded
    WHERE last_event.kind <> 'comment_deleted'
)

SELECT
    comments.name,
    comments.version,
    comments.comment_id,
    comments.text,
    comments.user_id,
    comments.created_at,
    comments.updated_at
FROM comments
LEFT JOIN model_versions ON comments.name = model_versions.name AND comments.version = model_versions.version
WHERE comments.version IS NULL OR model_versions.version IS NOT NULL
