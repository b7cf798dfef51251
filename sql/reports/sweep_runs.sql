-- purpose: Which sweep each run is a trial of, and in which place.
-- grain: One run that isn't deleted and in which no other is nested.
-- depends: project_runs, runs
-- column sweep_type: `run` for the runs nested in one run, `experiment` for those of an experiment that are nested in none.
-- column sweep_id: The parent run, or the experiment.
-- column sweep_name: The parent run's name, or its id where it has none; or the experiment's name.
-- column experiment_id: The trial's experiment.
-- column experiment_name: Its name.
-- column run_id: The trial.
-- column run_name: Its name.
-- column user_id: Who ran it, or null.
-- column outcome: As in `project_runs`.
-- column is_ended: As in `project_runs`.
-- column started_at: When it started.
-- column hours: Hours it took; 0 until they are known.
-- column trial: Numbers the sweep's trials from 1, by start and run id.
-- column hours_so_far: Hours of this trial and all before it together.

WITH parents AS (
    SELECT DISTINCT parent_run_id AS run_id
    FROM runs
    WHERE parent_run_id IS NOT NULL
),

trials AS (
    SELECT
        CASE WHEN runs.parent_run_id IS NULL THEN 'experiment' ELSE 'run' END AS sweep_type,
        COALESCE(runs.parent_run_id, project_runs.experiment_id) AS sweep_id,
        CASE
            WHEN runs.parent_run_id IS NULL THEN project_runs.experiment_name
            ELSE COALESCE(sweep.run_name, runs.parent_run_id)
        END AS sweep_name,
        project_runs.experiment_id,
        project_runs.experiment_name,
        project_runs.run_id,
        project_runs.run_name,
        project_runs.user_id,
        project_runs.outcome,
        project_runs.is_ended,
        project_runs.started_at,
        COALESCE(project_runs.duration_s, 0.0) / 3600 AS hours
    FROM project_runs
    INNER JOIN runs ON project_runs.run_id = runs.run_id
    LEFT JOIN runs AS sweep ON runs.parent_run_id = sweep.run_id
    LEFT JOIN parents ON project_runs.run_id = parents.run_id
    WHERE parents.run_id IS NULL
)

SELECT
    sweep_type,
    sweep_id,
    sweep_name,
    experiment_id,
    experiment_name,
    run_id,
    run_name,
    user_id,
    outcome,
    is_ended,
    started_at,
    hours,
    ROW_NUMBER() OVER (PARTITION BY sweep_type, sweep_id ORDER BY started_at, run_id) AS trial,
    SUM(hours) OVER (
        PARTITION BY sweep_type, sweep_id ORDER BY started_at, run_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS hours_so_far
FROM trials
