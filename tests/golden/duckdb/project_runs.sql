WITH classified AS (
  SELECT
    runs.run_id,
    runs.run_name,
    runs.experiment_id,
    COALESCE(runs.experiment_name, runs.experiment_id) AS experiment_name,
    runs.user_id,
    CASE WHEN runs.is_lost THEN 'lost' ELSE LOWER(runs.status) END AS outcome,
    runs.started_at,
    runs.duration_s
  FROM runs
  LEFT JOIN experiments
    ON runs.experiment_id = experiments.experiment_id
  WHERE
    runs.lifecycle_stage = 'active'
    AND COALESCE(experiments.lifecycle_stage, 'active') = 'active'
)
SELECT
  run_id,
  run_name,
  experiment_id,
  experiment_name,
  user_id,
  outcome,
  outcome IN ('finished', 'failed', 'killed') AS is_ended,
  started_at,
  DATE_TRUNC('DAY', started_at) AS day,
  duration_s
FROM classified
