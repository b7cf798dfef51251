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
), pairs AS (
  SELECT
    param,
    param_text,
    CASE
      WHEN ABS(param_number) < CAST('Infinity' AS DOUBLE)
      THEN param_number + 0.0
    END AS x, /* Adding zero makes 0 of -0, which are equal and would be ranked apart. */
    value + 0.0 AS y
  FROM valued_params
), ranked /* Ranks counted from their mean, so that their sums are 0 and the correlation is a sum of products. */ AS (
  SELECT
    param,
    RANK() OVER (PARTITION BY param ORDER BY x) + (
      COUNT(*) OVER (PARTITION BY param, x) - 1
    ) / CAST(2 AS DOUBLE) - (
      COUNT(*) OVER (PARTITION BY param) + 1
    ) / CAST(2 AS DOUBLE) AS x_rank,
    RANK() OVER (PARTITION BY param ORDER BY y) + (
      COUNT(*) OVER (PARTITION BY param, y) - 1
    ) / CAST(2 AS DOUBLE) - (
      COUNT(*) OVER (PARTITION BY param) + 1
    ) / CAST(2 AS DOUBLE) AS y_rank
  FROM pairs
  WHERE
    NOT x IS NULL
), correlated AS (
  SELECT
    param,
    COUNT(*) AS n,
    SUM(x_rank * y_rank) / NULLIF(SQRT(SUM(x_rank * x_rank)) * SQRT(SUM(y_rank * y_rank)), 0) AS spearman
  FROM ranked
  GROUP BY
    param
), counted AS (
  SELECT
    param,
    COUNT(*) AS n_runs,
    COUNT(DISTINCT param_text) AS n_values
  FROM pairs
  GROUP BY
    param
)
SELECT
  counted.param,
  counted.n_runs,
  counted.n_values,
  COALESCE(correlated.n, 0) AS n,
  correlated.spearman
FROM counted
LEFT JOIN correlated
  ON counted.param = correlated.param
ORDER BY
  COALESCE(ABS(correlated.spearman), -1) DESC,
  counted.param
