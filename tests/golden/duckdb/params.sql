WITH events AS (
  SELECT
    run_id,
    key,
    {'value': value, 'value_number': value_number} AS setting,
    {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq} AS position
  FROM param_events
), folded AS (
  SELECT
    run_id,
    key,
    ARG_MIN(setting, position) AS first_setting
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
