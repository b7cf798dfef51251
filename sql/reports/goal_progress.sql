-- purpose: What each run reached in each of its metric series, in both directions.
-- grain: One run that isn't deleted and one series in which it has a finite extreme, for one direction.
-- depends: project_runs, metric_summaries
-- column series: The metric's name, with its context where it has one.
-- column direction: `min` where lower is better, `max` where higher is.
-- column run_id: The run.
-- column run_name: Its name.
-- column experiment_id: Its experiment.
-- column experiment_name: The experiment's name.
-- column user_id: Who ran it, or null.
-- column value: The run's lowest value for `min`, its highest for `max`.
-- column step: The smallest step with that value.
-- column last: The run's latest value.
-- column reached_at: The time of the run's latest point in the series; runs are ordered by it.

WITH directions AS (
    SELECT 'min' AS direction
    UNION ALL
    SELECT 'max' AS direction
),

-- The summaries are read once for both directions.
both_directions AS (
    SELECT
        m.run_id,
        m.series,
        d.direction,
        CASE WHEN d.direction = 'min' THEN m.min ELSE m.max END AS value,
        CASE WHEN d.direction = 'min' THEN m.min_step ELSE m.max_step END AS step,
        m.last,
        m.last_at AS reached_at
    FROM metric_summaries AS m
    CROSS JOIN directions AS d
)

SELECT
    b.series,
    b.direction,
    r.run_id,
    r.run_name,
    r.experiment_id,
    r.experiment_name,
    r.user_id,
    b.value,
    b.step,
    b.last,
    b.reached_at
FROM both_directions AS b
JOIN project_runs AS r ON r.run_id = b.run_id
WHERE ABS(b.value) < CAST('Infinity' AS DOUBLE)
