WITH events AS (
  SELECT
    *,
    {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq} AS position,
    {'attempt': attempt, 'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq} AS place
  FROM run_events
), folded AS (
  SELECT
    run_id,
    ARG_MIN(
      {'experiment_id': experiment_id, 'started_at': event_at, 'parent_run_id': parent_run_id, 'actor': actor},
      position
    ) FILTER(WHERE
      kind = 'started') AS first_start,
    ARG_MAX(name, position) FILTER(WHERE
      kind IN ('started', 'renamed') AND NOT name IS NULL) AS run_name,
    ARG_MAX(status, place) FILTER(WHERE
      NOT status IS NULL) AS status,
    ARG_MAX({'kind': kind, 'event_at': event_at}, place) FILTER(WHERE
      kind IN ('ended', 'resumed')) AS last_turn,
    ARG_MAX(kind, position) FILTER(WHERE
      kind IN ('deleted', 'restored')) AS last_switch,
    ARG_MAX(heartbeat_due_at, place) FILTER(WHERE
      NOT heartbeat_due_at IS NULL) AS last_promise,
    MAX(attempt) AS attempt
  FROM events
  GROUP BY
    run_id
), states AS (
  SELECT
    run_id,
    first_start.experiment_id AS experiment_id,
    run_name,
    first_start.actor AS user_id,
    status,
    CASE WHEN last_switch = 'deleted' THEN 'deleted' ELSE 'active' END AS lifecycle_stage,
    first_start.started_at AS started_at,
    CASE WHEN last_turn.kind = 'ended' THEN last_turn.event_at END AS ended_at,
    attempt,
    first_start.parent_run_id AS parent_run_id,
    CASE WHEN status = 'RUNNING' THEN last_promise END AS heartbeat_due_at
  FROM folded
  WHERE
    NOT first_start IS NULL
)
SELECT
  states.run_id,
  states.experiment_id,
  experiments.name AS experiment_name,
  states.run_name,
  states.user_id,
  states.status,
  states.lifecycle_stage,
  states.started_at,
  states.ended_at,
  CAST(DATE_DIFF('MICROSECOND', states.started_at, states.ended_at) AS DOUBLE) / 1000000 AS duration_s,
  states.attempt,
  states.parent_run_id,
  states.heartbeat_due_at,
  COALESCE(states.heartbeat_due_at < CURRENT_TIMESTAMP, FALSE) AS is_lost
FROM states
LEFT JOIN experiments
  ON states.experiment_id = experiments.experiment_id
