-- purpose: The params of runs.
-- grain: One param of a run.
-- depends: param_events
-- column run_id: The run.
-- column key: The param's name.
-- column value: Its value as text: the first one set.
-- column value_number: The same as a number, where the text is one.

WITH lifted AS (
    SELECT
        run_id,
        key,
        {
            'recorded_at': recorded_at,
            'writer_id': writer_id,
            'writer_seq': writer_seq,
            'value': value,
            'value_number': value_number
        } AS first_setting
    FROM param_events
),

merged AS (
    SELECT
        run_id,
        key,
        MIN(first_setting) AS first_setting
    FROM lifted
    GROUP BY run_id, key
),

current AS (
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
