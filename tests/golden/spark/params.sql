WITH lifted AS (
  SELECT
    run_id,
    key,
    STRUCT(
      recorded_at AS recorded_at,
      writer_id AS writer_id,
      writer_seq AS writer_seq,
      value AS value,
      value_number AS value_number
    ) AS first_setting
  FROM param_events
), merged AS (
  SELECT
    run_id,
    key,
    MIN(first_setting) AS first_setting
  FROM lifted
  GROUP BY
    run_id,
    key
), current AS (
  SELECT
    run_id,
    key,
    first_setting.value AS value,
    first_setting.value_number AS value_number
  FROM merged
)
SELECT
  run_id,
  key,
  value,
  value_number
FROM current
