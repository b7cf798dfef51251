WITH chosen_runs AS (
  SELECT
    *
  FROM project_runs
  WHERE
    CAST($experiments AS TEXT[]) IS NULL
    OR ARRAY_CONTAINS(CAST($experiments AS TEXT[]), experiment_id)
), scoped AS (
  SELECT
    DATE_TRUNC('WEEK', started_at) AS week,
    experiment_id,
    experiment_name,
    user_id,
    outcome,
    CASE WHEN is_ended THEN duration_s END AS duration_s,
    is_ended AND NOT duration_s IS NULL AS is_timed
  FROM chosen_runs
), placed AS (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY week, experiment_id, user_id, is_timed ORDER BY duration_s) - 1 AS place,
    COUNT(*) OVER (PARTITION BY week, experiment_id, user_id, is_timed) - 1 AS last_place
  FROM scoped
), weighed /* A quantile lies between the two neighbours of its place: each counts the more the nearer it is. */ AS (
  SELECT
    *,
    GREATEST(0.0, 1.0 - ABS(place - CAST(0.1 AS DOUBLE) * last_place)) AS weight_p10,
    GREATEST(0.0, 1.0 - ABS(place - CAST(0.5 AS DOUBLE) * last_place)) AS weight_p50,
    GREATEST(0.0, 1.0 - ABS(place - CAST(0.9 AS DOUBLE) * last_place)) AS weight_p90
  FROM placed
)
SELECT
  week,
  experiment_id,
  experiment_name,
  user_id,
  COUNT(*) AS n_runs,
  COUNT(CASE WHEN outcome IN ('finished', 'failed', 'killed') THEN 1 END) AS n_ended,
  COUNT(CASE WHEN outcome = 'finished' THEN 1 END) AS n_finished,
  COUNT(CASE WHEN outcome = 'failed' THEN 1 END) AS n_failed,
  COUNT(CASE WHEN outcome = 'killed' THEN 1 END) AS n_killed,
  COUNT(CASE WHEN outcome = 'lost' THEN 1 END) AS n_lost,
  CAST(COUNT(CASE WHEN outcome = 'finished' THEN 1 END) AS DOUBLE) / NULLIF(COUNT(CASE WHEN outcome IN ('finished', 'failed', 'killed') THEN 1 END), 0) AS success_share,
  COALESCE(SUM(duration_s), 0.0) / 3600 AS hours,
  SUM(duration_s * weight_p10) AS duration_p10_s,
  SUM(duration_s * weight_p50) AS duration_p50_s,
  SUM(duration_s * weight_p90) AS duration_p90_s
FROM weighed
GROUP BY
  week,
  experiment_id,
  experiment_name,
  user_id
ORDER BY
  week,
  experiment_name,
  user_id
