WITH points AS (
  SELECT
    run_id,
    key,
    context,
    step,
    value,
    STRUCT(step AS step, event_at AS event_at, value AS value) AS point,
    STRUCT(value AS value, step AS step) AS low,
    STRUCT(value AS value, -1 - step AS step_complement) AS high
  FROM metrics
), folded AS (
  SELECT
    run_id,
    key,
    context,
    MAX(point) AS last_point,
    MAX(step) AS last_step,
    MIN(point) AS first_point,
    MIN(step) AS first_step,
    MIN(value) FILTER(WHERE
      NOT ISNAN(value)) AS lowest,
    MIN(low) FILTER(WHERE
      NOT ISNAN(value)) AS lowest_point,
    MAX(value) FILTER(WHERE
      NOT ISNAN(value)) AS highest,
    MAX(high) FILTER(WHERE
      NOT ISNAN(value)) AS highest_point,
    AVG(value) FILTER(WHERE
      NOT ISNAN(value)) AS mean,
    COUNT(*) AS n_points
  FROM points
  GROUP BY
    run_id,
    key,
    context
)
SELECT
  run_id,
  key,
  context,
  CASE WHEN context IS NULL THEN key ELSE key || ' ' || context END AS series,
  last_point.value AS last,
  last_step,
  last_point.event_at AS last_at,
  first_point.value AS first,
  first_step,
  lowest AS min,
  lowest_point.step AS min_step,
  highest AS max,
  -1 - highest_point.step_complement AS max_step,
  mean,
  n_points AS count
FROM folded
