-- purpose: What sweeps cost and what they brought: trials, hours, the best value and when it was found, and hours spent in vain.
-- grain: One sweep with at least one trial.
-- depends: trials
-- parameter metric metric: The metric: its key, or key, a space and the context.
-- parameter direction min|max = min: `min` where lower is better, `max` where higher is.
-- parameter experiments experiments = all: Only sweeps in these experiments.
-- column sweep_type: `run` for the runs nested in one run, `experiment` for those of an experiment that are nested in none.
-- column sweep_id: The parent run, or the experiment.
-- column sweep_name: Its name.
-- column n_trials: Its trials.
-- column n_finished: How many of them have finished.
-- column n_failed: How many have failed.
-- column n_killed: How many were killed, as those that a sweep prunes are.
-- column n_lost: How many are running with a missed heartbeat.
-- column stopped_share: Failed and killed ones among those that ended, 0 to 1; null while none has.
-- column n_valued: Trials with a finite value.
-- column median: The median of their best values.
-- column best: The best value of all; null when no trial has one.
-- column best_run_id: The first trial that reached it.
-- column best_trial: Its number: so many trials were needed.
-- column hours_to_best: Hours of all trials up to it.
-- column hours: Hours of all trials.
-- column hours_stopped: Hours of those that failed or were killed.
-- column hours_below_median: Hours of finished trials whose value is worse than the median, or that have none.
-- column wasted_share: The last two together among all hours, 0 to 1; null without hours.

-- The median as the mean of the one or two in the middle.
WITH placed AS (
    SELECT
        *,
        ROW_NUMBER() OVER (PARTITION BY sweep_type, sweep_id, badness IS NULL ORDER BY badness, trial) AS place,
        COUNT(badness) OVER (PARTITION BY sweep_type, sweep_id) AS n_valued
    FROM trials
),

measured AS (
    SELECT
        *,
        AVG(CASE WHEN badness IS NOT NULL AND ABS(2 * place - n_valued - 1) <= 1 THEN badness END) OVER (
            PARTITION BY sweep_type, sweep_id
        ) AS median
    FROM placed
),

judged AS (
    SELECT
        *,
        badness IS NOT NULL AND place = 1 AS is_best,
        outcome = 'finished' AND (badness IS NULL OR badness > median) AS is_below_median
    FROM measured
),

folded AS (
    SELECT
        sweep_type,
        sweep_id,
        sweep_name,
        COUNT(*) AS n_trials,
        COUNT(CASE WHEN outcome = 'finished' THEN 1 END) AS n_finished,
        COUNT(CASE WHEN outcome = 'failed' THEN 1 END) AS n_failed,
        COUNT(CASE WHEN outcome = 'killed' THEN 1 END) AS n_killed,
        COUNT(CASE WHEN outcome = 'lost' THEN 1 END) AS n_lost,
        COUNT(badness) AS n_valued,
        MAX(median) AS median,
        MIN(badness) AS best,
        MAX(CASE WHEN is_best THEN run_id END) AS best_run_id,
        MAX(CASE WHEN is_best THEN trial END) AS best_trial,
        MAX(CASE WHEN is_best THEN hours_so_far END) AS hours_to_best,
        SUM(hours) AS hours,
        SUM(CASE WHEN outcome IN ('failed', 'killed') THEN hours ELSE 0.0 END) AS hours_stopped,
        SUM(CASE WHEN is_below_median THEN hours ELSE 0.0 END) AS hours_below_median
    FROM judged
    GROUP BY sweep_type, sweep_id, sweep_name
)

SELECT
    sweep_type,
    sweep_id,
    sweep_name,
    n_trials,
    n_finished,
    n_failed,
    n_killed,
    n_lost,
    CAST(n_failed + n_killed AS DOUBLE) / NULLIF(n_finished + n_failed + n_killed, 0) AS stopped_share,
    n_valued,
    CASE WHEN $direction = 'min' THEN median ELSE -median END AS median,
    CASE WHEN $direction = 'min' THEN best ELSE -best END AS best,
    best_run_id,
    best_trial,
    hours_to_best,
    hours,
    hours_stopped,
    hours_below_median,
    (hours_stopped + hours_below_median) / NULLIF(hours, 0) AS wasted_share
FROM folded
ORDER BY sweep_name, sweep_type, sweep_id
