SELECT
  day,
  experiment_id,
  experiment_name,
  user_id,
  outcome,
  is_ended,
  COUNT(*) AS n_runs,
  SUM(COALESCE(duration_s, 0.0)) AS duration_s
FROM project_runs
GROUP BY
  day,
  experiment_id,
  experiment_name,
  user_id,
  outcome,
  is_ended
