WITH events AS (
  SELECT
    run_id,
    key,
    STRUCT(value AS value, value_number AS value_number) AS setting,
    STRUCT(recorded_at AS recorded_at, writer_id AS writer_id, writer_seq AS writer_seq) AS position
  FROM param_events
), folded AS (
  SELECT
    run_id,
    key,
    MIN_BY(setting, position) AS first_setting
  FROM events
  GROUP BY
    run_id,
    key
)
SELECT
  run_id,
  key,
  first_setting.value AS value,
  first_setting.value_number AS value_number
FROM folded
