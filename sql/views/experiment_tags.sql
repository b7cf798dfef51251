-- purpose: The tags that experiments have now.
-- grain: One tag of an experiment.
-- depends: experiment_events
-- column experiment_id: The experiment.
-- column key: The tag's key.
-- column value: The tag's value: the last one set.

WITH events AS (
    SELECT
        *,
        {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq} AS position
    FROM experiment_events
    WHERE kind = 'tag_set' AND key IS NOT NULL
),

folded AS (
    SELECT
        experiment_id,
        key,
        ARG_MAX({'value': value}, position) AS last_event
    FROM events
    GROUP BY experiment_id, key
)

SELECT
    experiment_id,
    key,
    last_event.value AS value
FROM folded
WHERE last_event.value IS NOT NULL
