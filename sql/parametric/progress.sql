-- purpose: How far a project has come: the best value of a metric so far, day by day, and who set it.
-- grain: One UTC day on which at least one run reached a finite value.
-- depends: goal_progress
-- parameter metric metric: The metric: its key, or key, a space and the context.
-- parameter direction min|max = min: `min` where lower is better, `max` where higher is.
-- parameter experiments experiments = all: Only these experiments; they count as one project.
-- column day: The start of the day.
-- column n_runs: Runs that reached their value on this day: that logged their latest point of the metric.
-- column n_records: How many of them beat everything before, one after another.
-- column best_of_day: The best value among them, over all points of each run.
-- column best: The best value so far.
-- column run_id: The run that set it: the first one, of several with the same value.
-- column run_name: Its name.
-- column experiment_name: Its experiment.
-- column user_id: Who ran it, or null.
-- column step: The smallest step with that value.
-- column reached_at: When the run reached it.

WITH reached AS (
    SELECT
        DATE_TRUNC('day', reached_at) AS day,
        run_id,
        run_name,
        experiment_name,
        user_id,
        value,
        CASE WHEN $direction = 'min' THEN value ELSE -value END AS badness,
        step,
        reached_at
    FROM goal_progress
    WHERE
        series = $metric
        AND direction = $direction
        AND (CAST($experiments AS VARCHAR[]) IS NULL OR LIST_CONTAINS(CAST($experiments AS VARCHAR[]), experiment_id))
),

compared AS (
    SELECT
        *,
        MIN(badness) OVER (
            ORDER BY reached_at, run_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS least_before
    FROM reached
),

marked AS (
    SELECT
        *,
        CASE WHEN least_before IS NULL OR badness < least_before THEN 1 ELSE 0 END AS is_record
    FROM compared
),

numbered AS (
    SELECT
        *,
        SUM(is_record) OVER (
            ORDER BY reached_at, run_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS record_number
    FROM marked
),

days AS (
    SELECT
        day,
        COUNT(*) AS n_runs,
        CAST(SUM(is_record) AS BIGINT) AS n_records,
        CASE WHEN $direction = 'min' THEN MIN(value) ELSE MAX(value) END AS best_of_day,
        MAX(record_number) AS record_number
    FROM numbered
    GROUP BY day
)

SELECT
    days.day,
    days.n_runs,
    days.n_records,
    days.best_of_day,
    numbered.value AS best,
    numbered.run_id,
    numbered.run_name,
    numbered.experiment_name,
    numbered.user_id,
    numbered.step,
    numbered.reached_at
FROM days
INNER JOIN numbered ON days.record_number = numbered.record_number AND numbered.is_record = 1
ORDER BY days.day
