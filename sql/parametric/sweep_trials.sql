-- purpose: How fast sweeps find good values: the best so far against trials and against hours.
-- grain: One trial of a sweep.
-- depends: trials
-- parameter metric metric: The metric: its key, or key, a space and the context.
-- parameter direction min|max = min: `min` where lower is better, `max` where higher is.
-- parameter experiments experiments = all: Only sweeps in these experiments.
-- column sweep_type: `run` for the runs nested in one run, `experiment` for those of an experiment that are nested in none.
-- column sweep_id: The parent run, or the experiment.
-- column sweep_name: Its name.
-- column trial: Numbers the sweep's trials from 1, by start and run id.
-- column run_id: The trial.
-- column run_name: Its name.
-- column outcome: As in `project_runs`.
-- column hours: Hours it took; 0 until they are known.
-- column hours_so_far: Hours of this trial and all before it together.
-- column value: Its best value over all its points; null when it has no finite one.
-- column best: The best value of this trial and all before it; null while there is none.
-- column is_record: Whether it beat all before it.

WITH compared AS (
    SELECT
        *,
        MIN(badness) OVER (
            PARTITION BY sweep_type, sweep_id ORDER BY trial ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS least_before,
        MIN(badness) OVER (
            PARTITION BY sweep_type, sweep_id ORDER BY trial ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS least
    FROM trials
)

SELECT
    sweep_type,
    sweep_id,
    sweep_name,
    trial,
    run_id,
    run_name,
    outcome,
    hours,
    hours_so_far,
    value,
    CASE WHEN $direction = 'min' THEN least ELSE -least END AS best,
    badness IS NOT NULL AND (least_before IS NULL OR badness < least_before) AS is_record
FROM compared
ORDER BY sweep_name, sweep_type, sweep_id, trial
