/* The median as the mean of the one or two in the middle. */
WITH trials AS (
  SELECT
    sweep_runs.*,
    reached.value,
    CASE WHEN :direction = 'min' THEN reached.value ELSE -reached.value END AS badness
  FROM sweep_runs
  LEFT JOIN (
    SELECT
      run_id,
      value
    FROM goal_progress
    WHERE
      series = :metric AND direction = :direction
  ) AS reached
    ON sweep_runs.run_id = reached.run_id
  WHERE
    CAST(:experiments AS ARRAY<STRING>) IS NULL
    OR ARRAY_CONTAINS(CAST(:experiments AS ARRAY<STRING>), sweep_runs.experiment_id)
), placed AS (
  SELECT
    *,
    ROW_NUMBER() OVER (
      PARTITION BY sweep_type, sweep_id, badness IS NULL
      ORDER BY badness NULLS LAST, trial NULLS LAST
    ) AS place,
    COUNT(badness) OVER (PARTITION BY sweep_type, sweep_id) AS n_valued
  FROM trials
), measured AS (
  SELECT
    *,
    AVG(
      CASE
        WHEN NOT badness IS NULL AND ABS(2 * place - n_valued - 1) <= 1
        THEN badness
      END
    ) OVER (PARTITION BY sweep_type, sweep_id) AS median
  FROM placed
), judged AS (
  SELECT
    *,
    NOT badness IS NULL AND place = 1 AS is_best,
    outcome = 'finished' AND (
      badness IS NULL OR badness > median
    ) AS is_below_median
  FROM measured
), folded AS (
  SELECT
    sweep_type,
    sweep_id,
    sweep_name,
    COUNT(*) AS n_trials,
    COUNT(CASE WHEN outcome = 'finished' THEN 1 END) AS n_finished,
    COUNT(CASE WHEN outcome = 'failed' THEN 1 END) AS n_failed,
    COUNT(CASE WHEN outcome = 'killed' THEN 1 END) AS n_killed,
    COUNT(CASE WHEN outcome = 'lost' THEN 1 END) AS n_lost,
    COUNT(badness) AS n_valued,
    MAX(median) AS median,
    MIN(badness) AS best,
    MAX(CASE WHEN is_best THEN run_id END) AS best_run_id,
    MAX(CASE WHEN is_best THEN trial END) AS best_trial,
    MAX(CASE WHEN is_best THEN hours_so_far END) AS hours_to_best,
    SUM(hours) AS hours,
    SUM(CASE WHEN outcome IN ('failed', 'killed') THEN hours ELSE 0.0 END) AS hours_stopped,
    SUM(CASE WHEN is_below_median THEN hours ELSE 0.0 END) AS hours_below_median
  FROM judged
  GROUP BY
    sweep_type,
    sweep_id,
    sweep_name
)
SELECT
  sweep_type,
  sweep_id,
  sweep_name,
  n_trials,
  n_finished,
  n_failed,
  n_killed,
  n_lost,
  CAST(n_failed + n_killed AS DOUBLE) / NULLIF(n_finished + n_failed + n_killed, 0) AS stopped_share,
  n_valued,
  CASE WHEN :direction = 'min' THEN median ELSE -median END AS median,
  CASE WHEN :direction = 'min' THEN best ELSE -best END AS best,
  best_run_id,
  best_trial,
  hours_to_best,
  hours,
  hours_stopped,
  hours_below_median,
  (
    hours_stopped + hours_below_median
  ) / NULLIF(hours, 0) AS wasted_share
FROM folded
ORDER BY
  sweep_name NULLS LAST,
  sweep_type NULLS LAST,
  sweep_id NULLS LAST
