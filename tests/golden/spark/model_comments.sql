WITH folded AS (
  SELECT
    name,
    CASE WHEN kind = 'comment_added' THEN CAST(seq AS STRING) ELSE key END AS id,
    MIN_BY(STRUCT(version AS version, actor AS actor, event_at AS event_at, seq AS seq), seq) AS first_event,
    MAX_BY(STRUCT(kind AS kind, value AS value, event_at AS event_at), seq) AS last_event
  FROM live_registry_events
  WHERE
    kind IN ('comment_added', 'comment_edited', 'comment_deleted')
  GROUP BY
    name,
    CASE WHEN kind = 'comment_added' THEN CAST(seq AS STRING) ELSE key END
), comments AS (
  SELECT
    name,
    first_event.version AS version,
    first_event.seq AS comment_id,
    last_event.value AS text,
    first_event.actor AS user_id,
    first_event.event_at AS created_at,
    last_event.event_at AS updated_at
  FROM folded
  WHERE
    last_event.kind <> 'comment_deleted'
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
LEFT JOIN model_versions
  ON comments.name = model_versions.name AND comments.version = model_versions.version
WHERE
  comments.version IS NULL OR NOT model_versions.version IS NULL
