-- purpose: The tags that runs have now.
-- grain: One tag of a run.
-- depends: tag_events
-- column run_id: The run.
-- column key: The tag's key.
-- column value: The tag's value: the last one set; a tag that was removed has no row.

WITH events AS (
    SELECT
        run_id,
        key,
        {'value': value} AS setting,
        {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq} AS position
    FROM tag_events
),

folded AS (
    SELECT
        run_id,
        key,
        ARG_MAX(setting, position) AS last_setting
    FROM events
    GROUP BY run_id, key
)

SELECT
    run_id,
    key,
    last_setting.value AS value
FROM folded
WHERE last_setting.value IS NOT NULL
