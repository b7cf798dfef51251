WITH directions AS (
  SELECT
    'min' AS direction
  UNION ALL
  SELECT
    'max' AS direction
), both_directions /* The summaries are read once for both directions. */ AS (
  SELECT
    m.run_id,
    m.series,
    d.direction,
    CASE WHEN d.direction = 'min' THEN m.min ELSE m.max END AS value,
    CASE WHEN d.direction = 'min' THEN m.min_step ELSE m.max_step END AS step,
    m.last,
    m.last_at AS reached_at
  FROM metric_summaries AS m
  CROSS JOIN directions AS d
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
