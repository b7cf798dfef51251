WITH parents AS (
  SELECT DISTINCT
    parent_run_id AS run_id
  FROM runs
  WHERE
    NOT parent_run_id IS NULL
), trials AS (
  SELECT
    CASE WHEN runs.parent_run_id IS NULL THEN 'experiment' ELSE 'run' END AS sweep_type,
    COALESCE(runs.parent_run_id, project_runs.experiment_id) AS sweep_id,
    CASE
      WHEN runs.parent_run_id IS NULL
      THEN project_runs.experiment_name
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
  INNER JOIN runs
    ON project_runs.run_id = runs.run_id
  LEFT JOIN runs AS sweep
    ON runs.parent_run_id = sweep.run_id
  LEFT JOIN parents
    ON project_runs.run_id = parents.run_id
  WHERE
    parents.run_id IS NULL
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
  ROW_NUMBER() OVER (
    PARTITION BY sweep_type, sweep_id
    ORDER BY started_at NULLS LAST, run_id NULLS LAST
  ) AS trial,
  SUM(hours) OVER (
    PARTITION BY sweep_type, sweep_id
    ORDER BY started_at NULLS LAST, run_id NULLS LAST
    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
  ) AS hours_so_far
FROM trials
