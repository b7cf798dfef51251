WITH deletions AS (
  SELECT
    model_name,
    MAX(seq) AS last_seq
  FROM registry_events
  WHERE
    kind = 'model_deleted'
  GROUP BY
    model_name
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
LEFT JOIN deletions
  ON events.model_name = deletions.model_name
WHERE
  events.seq > COALESCE(deletions.last_seq, 0)
