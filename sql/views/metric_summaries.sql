-- purpose: Last, first, extremes, mean and count of each metric of a run.
-- grain: One series: a run's metric in one context.
-- depends: metrics
-- column run_id: The run.
-- column key: The metric's name.
-- column context: The context as JSON, or null when none was given.
-- column series: The key, or key, a space and the context where there is one.
-- column last: Value of the latest point, the largest by (step, event_at, value); may be NaN.
-- column last_step: Step of the latest point.
-- column last_at: Time of the latest point.
-- column first: Value of the earliest point, the smallest by (step, event_at, value); may be NaN.
-- column first_step: Step of the earliest point.
-- column min: Smallest value, NaN skipped; null when every value is NaN.
-- column min_step: The smallest step that has the smallest value.
-- column max: Largest value, NaN skipped; null when every value is NaN.
-- column max_step: The smallest step that has the largest value.
-- column mean: Mean of the values, NaN skipped; null when every value is NaN.
-- column count: Number of points, NaN included.

WITH points AS (
    SELECT
        run_id,
        key,
        context,
        step,
        value,
        {'step': step, 'event_at': event_at, 'value': value} AS point,
        {'value': value, 'step': step} AS low,
        -- The complement orders steps the other way round and, unlike a minus sign, never overflows.
        {'value': value, 'step_complement': -1 - step} AS high
    FROM metrics
),

folded AS (
    SELECT
        run_id,
        key,
        context,
        MAX(point) AS last_point,
        MAX(step) AS last_step,
        MIN(point) AS first_point,
        MIN(step) AS first_step,
        MIN(value) FILTER (WHERE NOT ISNAN(value)) AS lowest,
        MIN(low) FILTER (WHERE NOT ISNAN(value)) AS lowest_point,
        MAX(value) FILTER (WHERE NOT ISNAN(value)) AS highest,
        MAX(high) FILTER (WHERE NOT ISNAN(value)) AS highest_point,
        AVG(value) FILTER (WHERE NOT ISNAN(value)) AS mean,
        COUNT(*) AS n_points
    FROM points
    GROUP BY run_id, key, context
)

SELECT
    run_id,
    key,
    context,
    CASE WHEN context IS NULL THEN key ELSE key || ' ' || context END AS series,
    last_point.value AS last,
    last_step,
    last_point.event_at AS last_at,
    first_point.value AS first,
    first_step,
    lowest AS min,
    lowest_point.step AS min_step,
    highest AS max,
    -1 - highest_point.step_complement AS max_step,
    mean,
    n_points AS count
FROM folded
