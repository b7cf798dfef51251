-- purpose: The metric points that count when a run was resumed: those that no later attempt has gone over again.
-- grain: One metric point.
-- depends: metrics
-- column run_id: The run.
-- column key: The metric's name.
-- column step: The x of the point.
-- column value: The value; may be NaN.
-- column context: The context as JSON, or null when none was given.
-- column attempt: The run's attempt that logged it.
-- column event_at: Its time.

WITH starts AS (
    SELECT
        run_id,
        key,
        COALESCE(context, '') AS context,
        attempt,
        MIN(step) AS first_step
    FROM metrics
    WHERE attempt > 0
    GROUP BY run_id, key, COALESCE(context, ''), attempt
),

-- For each later attempt of a series, the attempts that it is the next of: one row at most concerns a point.
cuts AS (
    SELECT
        run_id,
        key,
        context,
        attempt AS before_attempt,
        COALESCE(
            MAX(attempt) OVER (
                PARTITION BY run_id, key, context ORDER BY attempt ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ),
            0
        ) AS from_attempt,
        MIN(first_step) OVER (
            PARTITION BY run_id, key, context ORDER BY attempt ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        ) AS from_step
    FROM starts
)

SELECT
    metrics.run_id,
    metrics.key,
    metrics.step,
    metrics.value,
    metrics.context,
    metrics.attempt,
    metrics.event_at
FROM metrics
LEFT JOIN cuts
    ON
        metrics.run_id = cuts.run_id
        AND metrics.key = cuts.key
        AND COALESCE(metrics.context, '') = cuts.context
        AND metrics.attempt >= cuts.from_attempt
        AND metrics.attempt < cuts.before_attempt
        AND metrics.step >= cuts.from_step
WHERE cuts.run_id IS NULL
