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
), classified AS (
  SELECT
    *,
    CASE
      WHEN NOT text IS NULL
      THEN text
      WHEN ISNAN(value)
      THEN NULL
      WHEN NOT CAST(:threshold AS DOUBLE) IS NULL
      THEN CASE
        WHEN value >= CAST(:threshold AS DOUBLE)
        THEN '1'
        WHEN NOT value IS NULL
        THEN '0'
      END
      WHEN ABS(value) < 1e15
      THEN CAST(CAST(FLOOR(value + 0.5) AS BIGINT) AS STRING)
    END AS predicted,
    CASE
      WHEN NOT label_text IS NULL
      THEN label_text
      WHEN ABS(label_value) < 1e15
      THEN CAST(CAST(FLOOR(label_value + 0.5) AS BIGINT) AS STRING)
    END AS actual
  FROM rated
  WHERE
    is_labelled AND (
      NOT value IS NULL OR NOT text IS NULL
    )
), counted AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    output,
    window_start,
    predicted,
    actual,
    COUNT(*) AS n
  FROM classified
  WHERE
    NOT predicted IS NULL AND NOT actual IS NULL
  GROUP BY
    model_name,
    model_version,
    model_digest,
    dataset,
    output,
    window_start,
    predicted,
    actual
), sides AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    output,
    window_start,
    predicted AS class,
    n AS n_predicted,
    0 AS n_actual,
    CASE WHEN predicted = actual THEN n ELSE 0 END AS n_right
  FROM counted
  UNION ALL
  SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    output,
    window_start,
    actual AS class,
    0 AS n_predicted,
    n AS n_actual,
    0 AS n_right
  FROM counted
), folded AS (
  SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    output,
    window_start,
    class,
    SUM(n_actual) AS n_actual,
    SUM(n_predicted) AS n_predicted,
    SUM(n_right) AS n_right,
    2 * SUM(n_right) / CAST(SUM(n_actual) + SUM(n_predicted) AS DOUBLE) AS f1
  FROM sides
  GROUP BY
    model_name,
    model_version,
    model_digest,
    dataset,
    output,
    window_start,
    class
), totals AS (
  SELECT
    *,
    SUM(n_actual) OVER (
      PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
    ) AS n_labelled,
    SUM(n_right) OVER (
      PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
    ) AS n_all_right,
    AVG(f1) OVER (
      PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
    ) AS macro_f1
  FROM folded
)
SELECT
  model_name,
  model_version,
  model_digest,
  dataset,
  output,
  window_start,
  class,
  n_labelled,
  n_actual,
  n_predicted,
  n_right,
  n_right / CAST(NULLIF(n_predicted, 0) AS DOUBLE) AS precision,
  n_right / CAST(NULLIF(n_actual, 0) AS DOUBLE) AS recall,
  f1,
  n_all_right / CAST(n_labelled AS DOUBLE) AS accuracy,
  macro_f1
FROM totals
ORDER BY
  model_name NULLS LAST,
  model_version NULLS LAST,
  model_digest NULLS LAST,
  dataset NULLS LAST,
  output NULLS LAST,
  window_start NULLS LAST,
  class NULLS LAST
