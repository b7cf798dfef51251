WITH events AS (
  SELECT
    *,
    STRUCT(recorded_at AS recorded_at, writer_id AS writer_id, writer_seq AS writer_seq) AS position
  FROM experiment_events
), folded AS (
  SELECT
    experiment_id,
    MIN_BY(event_at, position) FILTER(WHERE
      kind = 'created') AS created_at,
    MAX_BY(name, position) FILTER(WHERE
      kind IN ('created', 'renamed') AND NOT name IS NULL) AS name,
    MAX_BY(kind, position) FILTER(WHERE
      kind IN ('deleted', 'restored')) AS last_switch,
    MAX_BY(event_at, position) AS updated_at
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
