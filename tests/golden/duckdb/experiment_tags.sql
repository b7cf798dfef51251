WITH events AS (
  SELECT
    *,
    {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq} AS position
  FROM experiment_events
  WHERE
    kind = 'tag_set' AND NOT key IS NULL
), folded AS (
  SELECT
    experiment_id,
    key,
    ARG_MAX({'value': value}, position) AS last_event
  FROM events
  GROUP BY
    experiment_id,
    key
)
SELECT
  experiment_id,
  key,
  last_event.value AS value
FROM folded
WHERE
  NOT last_event.value IS NULL
