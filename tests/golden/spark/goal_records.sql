WITH ordered AS (
  SELECT
    series,
    direction,
    experiment_id,
    experiment_name,
    run_id,
    run_name,
    user_id,
    value,
    step,
    reached_at,
    MIN(CASE WHEN direction = 'min' THEN value END) OVER (
      PARTITION BY series, direction, experiment_id
      ORDER BY reached_at NULLS LAST, run_id NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS lowest_before,
    MAX(CASE WHEN direction = 'max' THEN value END) OVER (
      PARTITION BY series, direction, experiment_id
      ORDER BY reached_at NULLS LAST, run_id NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS highest_before
  FROM goal_progress
), compared AS (
  SELECT
    series,
    direction,
    experiment_id,
    experiment_name,
    run_id,
    run_name,
    user_id,
    value,
    step,
    reached_at,
    CASE WHEN direction = 'min' THEN lowest_before ELSE highest_before END AS beaten
  FROM ordered
)
SELECT
  series,
  direction,
  experiment_id,
  experiment_name,
  run_id,
  run_name,
  user_id,
  value,
  step,
  reached_at,
  beaten
FROM compared
WHERE
  beaten IS NULL
  OR (
    direction = 'min' AND value < beaten
  )
  OR (
    direction = 'max' AND value > beaten
  )
