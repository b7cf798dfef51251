-- purpose: The tags that runs have now.
-- grain: One tag of a run.
-- depends: tag_events
-- column run_id: The run.
-- column key: The tag's key.
-- column value: The tag's value: the last one set; a tag that was removed has no row.

WITH lifted AS (
    SELECT
        run_id,
        key,
        {
            'recorded_at': recorded_at,
            'writer_id': writer_id,
            'writer_seq': writer_seq,
            'value': value
        } AS last_setting
    FROM tag_events
),

merged AS (
    SELECT
        run_id,
        key,
        MAX(last_setting) AS last_setting
    FROM lifted
    GROUP BY run_id, key
),

current AS (
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
WHERE value IS NOT NULL
