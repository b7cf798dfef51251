WITH events AS (
  SELECT
    run_id,
    key,
    STRUCT(value AS value) AS setting,
    STRUCT(recorded_at AS recorded_at, writer_id AS writer_id, writer_seq AS writer_seq) AS position
  FROM tag_events
), folded AS (
  SELECT
    run_id,
    key,
    MAX_BY(setting, position) AS last_setting
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
