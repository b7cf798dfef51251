WITH chosen_runs AS (
  SELECT
    *
  FROM project_runs
  WHERE
    CAST($experiments AS TEXT[]) IS NULL
    OR ARRAY_CONTAINS(CAST($experiments AS TEXT[]), experiment_id)
), measured AS (
  SELECT
    run_id,
    CASE $stat
      WHEN 'last'
      THEN last
      WHEN 'first'
      THEN first
      WHEN 'min'
      THEN min
      WHEN 'max'
      THEN max
      ELSE mean
    END AS value
  FROM metric_summaries
  WHERE
    series = $metric
), valued_params AS (
  SELECT
    chosen_runs.run_id,
    chosen_runs.experiment_name,
    params.key AS param,
    params.value AS param_text,
    params.value_number AS param_number,
    measured.value
  FROM chosen_runs
  INNER JOIN measured
    ON chosen_runs.run_id = measured.run_id
  INNER JOIN params
    ON chosen_runs.run_id = params.run_id
  WHERE
    ABS(measured.value) < CAST('Infinity' AS DOUBLE)
    AND ARRAY_CONTAINS(CAST($outcomes AS TEXT[]), chosen_runs.outcome)
)
SELECT
  run_id,
  experiment_name,
  param,
  param_text,
  param_number,
  value
FROM valued_params
ORDER BY
  run_id,
  param
