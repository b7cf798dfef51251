-- purpose: How much is run a week, by whom, how much of it succeeds, and how long it takes.
-- grain: One week, experiment and user with at least one run started in it.
-- depends: chosen_runs
-- parameter experiments experiments = all: Only these experiments.
-- column week: The start of the week: Monday, UTC.
-- column experiment_id: The experiment.
-- column experiment_name: Its name.
-- column user_id: Who ran them, or null.
-- column n_runs: Runs started in this week.
-- column n_ended: How many of them have ended.
-- column n_finished: How many have finished.
-- column n_failed: How many have failed.
-- column n_killed: How many were killed.
-- column n_lost: How many are running with a missed heartbeat.
-- column success_share: Finished ones among those that ended, 0 to 1; null while none has.
-- column hours: Hours of those that ended, together.
-- column duration_p10_s: Seconds that a tenth of those that ended stayed below; quantiles interpolate linearly between neighbours.
-- column duration_p50_s: The median of their seconds.
-- column duration_p90_s: Seconds that nine tenths of them stayed below.

WITH scoped AS (
    SELECT
        DATE_TRUNC('week', started_at) AS week,
        experiment_id,
        experiment_name,
        user_id,
        outcome,
        CASE WHEN is_ended THEN duration_s END AS duration_s,
        is_ended AND duration_s IS NOT NULL AS is_timed
    FROM chosen_runs
),

placed AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY week, experiment_id, user_id, is_timed ORDER BY duration_s
        ) - 1 AS place,
        COUNT(*) OVER (PARTITION BY week, experiment_id, user_id, is_timed) - 1 AS last_place
    FROM scoped
),

-- A quantile lies between the two neighbours of its place: each counts the more the nearer it is.
weighed AS (
    SELECT
        *,
        GREATEST(0.0, 1.0 - ABS(place - CAST(0.1 AS DOUBLE) * last_place)) AS weight_p10,
        GREATEST(0.0, 1.0 - ABS(place - CAST(0.5 AS DOUBLE) * last_place)) AS weight_p50,
        GREATEST(0.0, 1.0 - ABS(place - CAST(0.9 AS DOUBLE) * last_place)) AS weight_p90
    FROM placed
)

SELECT
    week,
    experiment_id,
    experiment_name,
    user_id,
    COUNT(*) AS n_runs,
    COUNT(CASE WHEN outcome IN ('finished', 'failed', 'killed') THEN 1 END) AS n_ended,
    COUNT(CASE WHEN outcome = 'finished' THEN 1 END) AS n_finished,
    COUNT(CASE WHEN outcome = 'failed' THEN 1 END) AS n_failed,
    COUNT(CASE WHEN outcome = 'killed' THEN 1 END) AS n_killed,
    COUNT(CASE WHEN outcome = 'lost' THEN 1 END) AS n_lost,
    CAST(COUNT(CASE WHEN outcome = 'finished' THEN 1 END) AS DOUBLE)
    / NULLIF(COUNT(CASE WHEN outcome IN ('finished', 'failed', 'killed') THEN 1 END), 0) AS success_share,
    COALESCE(SUM(duration_s), 0.0) / 3600 AS hours,
    SUM(duration_s * weight_p10) AS duration_p10_s,
    SUM(duration_s * weight_p50) AS duration_p50_s,
    SUM(duration_s * weight_p90) AS duration_p90_s
FROM weighed
GROUP BY week, experiment_id, experiment_name, user_id
ORDER BY week, experiment_name, user_id
