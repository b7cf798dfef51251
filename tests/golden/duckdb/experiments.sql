WITH events AS (
  SELECT
    *,
    {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq} AS position
  FROM experiment_events
), folded AS (
  SELECT
    experiment_id,
    ARG_MIN(event_at, position) FILTER(WHERE
      kind = 'created') AS created_at,
    ARG_MAX(name, position) FILTER(WHERE
      kind IN ('created', 'renamed') AND NOT name IS NULL) AS name,
    ARG_MAX(kind, position) FILTER(WHERE
      kind IN ('deleted', 'restored')) AS last_switch,
    ARG_MAX(event_at, position) AS updated_at
  FROM events
  GROUP BY
    experiment_id
)
SELECT
  experiment_id,
  name,
  CASE WHEN last_switch = 'deleted' THEN 'deleted' ELSE 'active' END AS lifecycle_stage,
  created_at,
  updated_at
FROM folded
WHERE
  NOT created_at IS NULL
