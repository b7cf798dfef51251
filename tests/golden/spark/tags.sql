WITH lifted AS (
  SELECT
    run_id,
    key,
    STRUCT(
      recorded_at AS recorded_at,
      writer_id AS writer_id,
      writer_seq AS writer_seq,
      value AS value
    ) AS last_setting
  FROM tag_events
), merged AS (
  SELECT
    run_id,
    key,
    MAX(last_setting) AS last_setting
  FROM lifted
  GROUP BY
    run_id,
    key
), current AS (
  SELECT
    run_id,
    key,
    last_setting.value AS value
  FROM merged
)
SELECT
  run_id,
  key,
  value
FROM current
WHERE
  NOT value IS NULL
