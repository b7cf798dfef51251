WITH trials AS (
  SELECT
    sweep_runs.*,
    reached.value,
    CASE WHEN $direction = 'min' THEN reached.value ELSE -reached.value END AS badness
  FROM sweep_runs
  LEFT JOIN (
    SELECT
      run_id,
      value
    FROM goal_progress
    WHERE
      series = $metric AND direction = $direction
  ) AS reached
    ON sweep_runs.run_id = reached.run_id
  WHERE
    CAST($experiments AS TEXT[]) IS NULL
    OR ARRAY_CONTAINS(CAST($experiments AS TEXT[]), sweep_runs.experiment_id)
), compared AS (
  SELECT
    *,
    MIN(badness) OVER (
      PARTITION BY sweep_type, sweep_id
      ORDER BY trial
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS least_before,
    MIN(badness) OVER (
      PARTITION BY sweep_type, sweep_id
      ORDER BY trial
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS least
  FROM trials
)
SELECT
  sweep_type,
  sweep_id,
  sweep_name,
  trial,
  run_id,
  run_name,
  outcome,
  hours,
  hours_so_far,
  value,
  CASE WHEN $direction = 'min' THEN least ELSE -least END AS best,
  NOT badness IS NULL AND (
    least_before IS NULL OR badness < least_before
  ) AS is_record
FROM compared
ORDER BY
  sweep_name,
  sweep_type,
  sweep_id,
  trial
