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
), kept AS (
  SELECT
    writer_id,
    writer_seq,
    dataset,
    row_key,
    feature,
    text,
    CASE WHEN NOT ISNAN(value) THEN value + 0.0 END AS number /* Adding zero makes 0 of -0, which are equal and would be ranked apart. */
  FROM prediction_inputs
  WHERE
    CAST(:features AS ARRAY<STRING>) IS NULL
    OR ARRAY_CONTAINS(CAST(:features AS ARRAY<STRING>), feature)
), joined AS (
  SELECT
    classified.model_name,
    classified.model_version,
    classified.model_digest,
    classified.dataset,
    classified.output,
    classified.window_start,
    kept.feature,
    kept.text,
    kept.number,
    CASE
      WHEN classified.predicted = classified.actual
      THEN 0
      WHEN classified.predicted <> classified.actual
      THEN 1
    END AS is_wrong,
    CASE
      WHEN ABS(classified.value) < CAST('Infinity' AS DOUBLE)
      AND ABS(classified.label_value) < CAST('Infinity' AS DOUBLE)
      THEN classified.value - classified.label_value
    END AS error
  FROM classified
  INNER JOIN kept
    ON classified.writer_id = kept.writer_id
    AND classified.writer_seq = kept.writer_seq
    AND classified.dataset = kept.dataset
    AND classified.row_key = kept.row_key
), ranked AS (
  SELECT
    *,
    RANK() OVER (
      PARTITION BY model_name, model_version, model_digest, dataset, output, window_start, feature, number IS NULL
      ORDER BY number NULLS LAST
    ) AS place,
    COUNT(number) OVER (
      PARTITION BY model_name, model_version, model_digest, dataset, output, window_start, feature
    ) AS n_numbers,
    COUNT(*) OVER (
      PARTITION BY model_name, model_version, model_digest, dataset, output, window_start, feature
    ) AS n_all
  FROM joined
), sliced AS (
  SELECT
    *,
    CASE
      WHEN NOT number IS NULL
      THEN FLOOR((
        place - 1
      ) * CAST(:slices AS DOUBLE) / n_numbers)
    END AS slice
  FROM ranked
)
SELECT
  model_name,
  model_version,
  model_digest,
  dataset,
  output,
  window_start,
  feature,
  text AS slice_text,
  MIN(number) AS slice_from,
  MAX(number) AS slice_to,
  COUNT(*) AS n,
  COUNT(*) / CAST(MAX(n_all) AS DOUBLE) AS share,
  AVG(is_wrong) AS error_rate,
  AVG(ABS(error)) AS mae,
  AVG(error) AS bias
FROM sliced
GROUP BY
  model_name,
  model_version,
  model_digest,
  dataset,
  output,
  window_start,
  feature,
  text,
  slice
ORDER BY
  model_name NULLS LAST,
  model_version NULLS LAST,
  model_digest NULLS LAST,
  dataset NULLS LAST,
  output NULLS LAST,
  window_start NULLS LAST,
  feature NULLS LAST,
  slice_text NULLS LAST,
  slice_from NULLS LAST
