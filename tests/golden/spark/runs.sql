WITH events AS (
  SELECT
    *,
    STRUCT(recorded_at AS recorded_at, writer_id AS writer_id, writer_seq AS writer_seq) AS position,
    STRUCT(
      attempt AS attempt,
      recorded_at AS recorded_at,
      writer_id AS writer_id,
      writer_seq AS writer_seq
    ) AS place
  FROM run_events
), lifted AS (
  SELECT
    run_id,
    CASE
      WHEN kind = 'started'
      THEN STRUCT(
        position AS position,
        experiment_id AS experiment_id,
        event_at AS started_at,
        parent_run_id AS parent_run_id,
        actor AS actor
      )
    END AS first_start,
    CASE
      WHEN kind IN ('started', 'renamed') AND NOT name IS NULL
      THEN STRUCT(position AS position, name AS name)
    END AS last_name,
    CASE WHEN NOT status IS NULL THEN STRUCT(place AS place, status AS status) END AS last_status,
    CASE
      WHEN kind IN ('ended', 'resumed')
      THEN STRUCT(place AS place, kind AS kind, event_at AS event_at)
    END AS last_turn,
    CASE
      WHEN kind IN ('deleted', 'restored')
      THEN STRUCT(position AS position, kind AS kind)
    END AS last_switch,
    CASE
      WHEN NOT heartbeat_due_at IS NULL
      THEN STRUCT(place AS place, heartbeat_due_at AS heartbeat_due_at)
    END AS last_promise,
    attempt AS last_attempt
  FROM events
), merged AS (
  SELECT
    run_id,
    MIN(first_start) AS first_start,
    MAX(last_name) AS last_name,
    MAX(last_status) AS last_status,
    MAX(last_turn) AS last_turn,
    MAX(last_switch) AS last_switch,
    MAX(last_promise) AS last_promise,
    MAX(last_attempt) AS last_attempt
  FROM lifted
  GROUP BY
    run_id
), current AS (
  SELECT
    run_id,
    first_start.experiment_id AS experiment_id,
    last_name.name AS run_name,
    first_start.actor AS user_id,
    last_status.status AS status,
    CASE WHEN last_switch.kind = 'deleted' THEN 'deleted' ELSE 'active' END AS lifecycle_stage,
    first_start.started_at AS started_at,
    CASE WHEN last_turn.kind = 'ended' THEN last_turn.event_at END AS ended_at,
    last_attempt AS attempt,
    first_start.parent_run_id AS parent_run_id,
    CASE WHEN last_status.status = 'RUNNING' THEN last_promise.heartbeat_due_at END AS heartbeat_due_at
  FROM merged
)
SELECT
  current.run_id,
  current.experiment_id,
  experiments.name AS experiment_name,
  current.run_name,
  current.user_id,
  current.status,
  current.lifecycle_stage,
  current.started_at,
  current.ended_at,
  CAST(DATEDIFF(MICROSECOND, current.started_at, current.ended_at) AS DOUBLE) / 1000000 AS duration_s,
  current.attempt,
  current.parent_run_id,
  current.heartbeat_due_at,
  COALESCE(current.heartbeat_due_at < CURRENT_TIMESTAMP(), FALSE) AS is_lost
FROM current
LEFT JOIN experiments
  ON current.experiment_id = experiments.experiment_id
WHERE
  NOT current.started_at IS NULL
