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
    value,
    label_value,
    GREATEST(CEIL(value * CAST(:bins AS DOUBLE)), 1) AS bin
  FROM rated
  WHERE
    value BETWEEN 0 AND 1 AND label_value IN (0, 1)
), folded AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    output,
    window_start,
    CAST(bin AS BIGINT) AS bin,
    COUNT(*) AS n,
    AVG(value) AS mean_predicted,
    AVG(label_value) AS observed,
    SUM((
      value - label_value
    ) * (
      value - label_value
    )) AS squares
  FROM paired
  GROUP BY
    model_name,
    model_version,
    model_digest,
    dataset,
    output,
    window_start,
    CAST(bin AS BIGINT)
)
SELECT
  model_name,
  model_version,
  model_digest,
  dataset,
  output,
  window_start,
  bin,
  (
    bin - 1
  ) / CAST(:bins AS DOUBLE) AS lower,
  bin / CAST(:bins AS DOUBLE) AS upper,
  n,
  mean_predicted,
  observed,
  observed - mean_predicted AS gap,
  SUM(n * ABS(observed - mean_predicted)) OVER (
    PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
  ) / SUM(n) OVER (
    PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
  ) AS ece,
  SUM(squares) OVER (
    PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
  ) / SUM(n) OVER (
    PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
  ) AS brier
FROM folded
ORDER BY
  model_name NULLS LAST,
  model_version NULLS LAST,
  model_digest NULLS LAST,
  dataset NULLS LAST,
  output NULLS LAST,
  window_start NULLS LAST,
  bin NULLS LAST
