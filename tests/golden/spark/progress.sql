WITH reached AS (
  SELECT
    DATE_TRUNC('DAY', reached_at) AS day,
    run_id,
    run_name,
    experiment_name,
    user_id,
    value,
    CASE WHEN :direction = 'min' THEN value ELSE -value END AS badness,
    step,
    reached_at
  FROM goal_progress
  WHERE
    series = :metric
    AND direction = :direction
    AND (
      CAST(:experiments AS ARRAY<STRING>) IS NULL
      OR ARRAY_CONTAINS(CAST(:experiments AS ARRAY<STRING>), experiment_id)
    )
), compared AS (
  SELECT
    *,
    MIN(badness) OVER (
      ORDER BY reached_at NULLS LAST, run_id NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS least_before
  FROM reached
), marked AS (
  SELECT
    *,
    CASE WHEN least_before IS NULL OR badness < least_before THEN 1 ELSE 0 END AS is_record
  FROM compared
), numbered AS (
  SELECT
    *,
    SUM(is_record) OVER (
      ORDER BY reached_at NULLS LAST, run_id NULLS LAST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS record_number
  FROM marked
), days AS (
  SELECT
    day,
    COUNT(*) AS n_runs,
    CAST(SUM(is_record) AS BIGINT) AS n_records,
    CASE WHEN :direction = 'min' THEN MIN(value) ELSE MAX(value) END AS best_of_day,
    MAX(record_number) AS record_number
  FROM numbered
  GROUP BY
    day
)
SELECT
  days.day,
  days.n_runs,
  days.n_records,
  days.best_of_day,
  numbered.value AS best,
  numbered.run_id,
  numbered.run_name,
  numbered.experiment_name,
  numbered.user_id,
  numbered.step,
  numbered.reached_at
FROM days
INNER JOIN numbered
  ON days.record_number = numbered.record_number AND numbered.is_record = 1
ORDER BY
  days.day NULLS LAST
