WITH taken_back AS (
  SELECT
    model_name,
    key
  FROM registry_events
  WHERE
    kind = 'model_restored'
), deletions AS (
  SELECT
    ends.model_name,
    MAX(ends.seq) AS last_seq
  FROM registry_events AS ends
  LEFT JOIN taken_back
    ON ends.model_name = taken_back.model_name
    AND CAST(ends.seq AS STRING) = taken_back.key
  WHERE
    ends.kind IN ('model_deleted', 'model_renamed') AND taken_back.key IS NULL
  GROUP BY
    ends.model_name
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
LEFT JOIN deletions
  ON events.model_name = deletions.model_name
WHERE
  events.seq > COALESCE(deletions.last_seq, 0)
  AND events.model_name NOT LIKE REPLACE(':%', CHR(92), CONCAT(CHR(92), CHR(92)))
