WITH both_directions AS (
  SELECT
    run_id,
    series,
    'min' AS direction,
    min AS value,
    min_step AS step,
    last,
    last_at AS reached_at
  FROM metric_summaries
  UNION ALL
  SELECT
    run_id,
    series,
    'max' AS direction,
    max AS value,
    max_step AS step,
    last,
    last_at AS reached_at
  FROM metric_summaries
)
SELECT
  b.series,
  b.direction,
  r.run_id,
  r.run_name,
  r.experiment_id,
  r.experiment_name,
  r.user_id,
  b.value,
  b.step,
  b.last,
  b.reached_at
FROM both_directions AS b
JOIN project_runs AS r
  ON r.run_id = b.run_id
WHERE
  ABS(b.value) < CAST('Infinity' AS DOUBLE)
