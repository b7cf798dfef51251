SELECT
  project_runs.run_id,
  project_runs.experiment_name,
  params.key AS param,
  params.value AS param_text,
  params.value_number AS param_number,
  measured.value
FROM project_runs
INNER JOIN (
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
) AS measured
  ON project_runs.run_id = measured.run_id
INNER JOIN params
  ON project_runs.run_id = params.run_id
WHERE
  ABS(measured.value) < CAST('Infinity' AS DOUBLE)
  AND ARRAY_CONTAINS(CAST($outcomes AS TEXT[]), project_runs.outcome)
  AND (
    CAST($experiments AS TEXT[]) IS NULL
    OR ARRAY_CONTAINS(CAST($experiments AS TEXT[]), project_runs.experiment_id)
  )
ORDER BY
  project_runs.run_id,
  params.key
