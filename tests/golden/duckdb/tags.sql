WITH events AS (
  SELECT
    run_id,
    key,
    {'value': value} AS setting,
    {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq} AS position
  FROM tag_events
), folded AS (
  SELECT
    run_id,
    key,
    ARG_MAX(setting, position) AS last_setting
  FROM events
  GROUP BY
    run_id,
    key
)
SELECT
  run_id,
  key,
  last_setting.value AS value
FROM folded
WHERE
  NOT last_setting.value IS NULL
