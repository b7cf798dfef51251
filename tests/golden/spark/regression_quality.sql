WITH rated AS (
  SELECT
    *,
    CASE :window
      WHEN 'hour'
      THEN DATE_TRUNC('HOUR', event_at)
      WHEN 'day'
      THEN DATE_TRUNC('DAY', event_at)
      WHEN 'week'
      THEN DATE_TRUNC('WEEK', event_at)
      WHEN 'month'
      THEN DATE_TRUNC('MONTH', event_at)
    END AS window_start
  FROM labelled_predictions
  WHERE
    (
      CAST(:models AS ARRAY<STRING>) IS NULL
      OR ARRAY_CONTAINS(CAST(:models AS ARRAY<STRING>), model_name)
    )
    AND (
      CAST(:datasets AS ARRAY<STRING>) IS NULL
      OR ARRAY_CONTAINS(CAST(:datasets AS ARRAY<STRING>), dataset)
    )
), paired AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    output,
    window_start,
    latency_us,
    CASE
      WHEN ABS(value) < CAST('Infinity' AS DOUBLE)
      AND ABS(label_value) < CAST('Infinity' AS DOUBLE)
      THEN value - label_value
    END AS error,
    CASE
      WHEN ABS(value) < CAST('Infinity' AS DOUBLE)
      AND ABS(label_value) < CAST('Infinity' AS DOUBLE)
      THEN label_value
    END AS truth
  FROM rated
  WHERE
    text IS NULL AND label_text IS NULL
), centred AS (
  SELECT
    *,
    AVG(truth) OVER (
      PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
    ) AS mean
  FROM paired
)
SELECT
  model_name,
  model_version,
  model_digest,
  dataset,
  output,
  window_start,
  COUNT(*) AS n,
  COUNT(error) AS n_labelled,
  COUNT(error) / CAST(COUNT(*) AS DOUBLE) AS coverage,
  AVG(ABS(error)) AS mae,
  SQRT(AVG(error * error)) AS rmse,
  AVG(error) AS bias,
  1 - SUM(error * error) / NULLIF(SUM((
    truth - mean
  ) * (
    truth - mean
  )), 0) AS r2,
  AVG(latency_us) AS latency_us
FROM centred
GROUP BY
  model_name,
  model_version,
  model_digest,
  dataset,
  output,
  window_start
ORDER BY
  model_name NULLS LAST,
  model_version NULLS LAST,
  model_digest NULLS LAST,
  dataset NULLS LAST,
  output NULLS LAST,
  window_start NULLS LAST
