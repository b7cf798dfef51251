WITH chosen_runs AS (
  SELECT
    *
  FROM project_runs
  WHERE
    CAST($experiments AS TEXT[]) IS NULL
    OR ARRAY_CONTAINS(CAST($experiments AS TEXT[]), experiment_id)
), scoped AS (
  SELECT
    run_id,
    DATE_TRUNC('WEEK', started_at) AS week,
    experiment_id,
    experiment_name,
    user_id,
    outcome IN ('lost', 'scheduled') AS is_unknown,
    CASE
      WHEN outcome = 'running'
      THEN GREATEST(
        CAST(DATE_DIFF('MICROSECOND', started_at, CAST($now AS TIMESTAMPTZ)) AS DOUBLE),
        0.0
      ) / 1000000
      WHEN is_ended
      THEN COALESCE(duration_s, 0.0)
      ELSE 0.0
    END / 3600 AS hours
  FROM chosen_runs
), seen /* The GPUs are counted by one metric of each: the memory, or where that can't be read, the utilisation. */ AS (
  SELECT
    run_id,
    COUNT(CASE WHEN key = 'system/cpu_utilization_percentage' THEN 1 END) AS n_machines,
    GREATEST(
      COUNT(CASE WHEN key LIKE 'system/gpu_%_memory_usage_megabytes' THEN 1 END),
      COUNT(CASE WHEN key LIKE 'system/gpu_%_utilization_percentage' THEN 1 END)
    ) AS n_gpus,
    SUM(CASE WHEN key LIKE 'system/gpu_%_utilization_percentage' THEN mean END) / 100 AS busy_gpus,
    SUM(CASE WHEN key = 'system/process_cpu_percentage' THEN mean END) / 100 AS busy_cores
  FROM metric_summaries
  WHERE
    key LIKE 'system/%'
  GROUP BY
    run_id
), spent AS (
  SELECT
    scoped.week,
    scoped.experiment_id,
    scoped.experiment_name,
    scoped.user_id,
    scoped.is_unknown,
    seen.run_id IS NULL AS is_unseen,
    scoped.hours,
    scoped.hours * GREATEST(COALESCE(seen.n_machines, 1), 1) AS machine_hours,
    scoped.hours * COALESCE(seen.n_gpus, 0) AS gpu_hours,
    scoped.hours * COALESCE(seen.busy_gpus, 0.0) AS gpu_busy_hours,
    scoped.hours * COALESCE(seen.busy_cores, 0.0) AS core_hours
  FROM scoped
  LEFT JOIN seen
    ON scoped.run_id = seen.run_id
)
SELECT
  week,
  experiment_id,
  experiment_name,
  user_id,
  COUNT(*) AS n_runs,
  COUNT(CASE WHEN is_unknown THEN 1 END) AS n_unknown,
  COUNT(CASE WHEN is_unseen THEN 1 END) AS n_without_system_metrics,
  SUM(hours) AS hours,
  SUM(machine_hours) AS machine_hours,
  SUM(gpu_hours) AS gpu_hours,
  SUM(gpu_busy_hours) AS gpu_busy_hours,
  SUM(core_hours) AS core_hours,
  SUM(machine_hours) * CAST($price_per_hour AS DOUBLE) + SUM(gpu_hours) * CAST($price_per_gpu_hour AS DOUBLE) + SUM(core_hours) * CAST($price_per_core_hour AS DOUBLE) AS cost
FROM spent
GROUP BY
  week,
  experiment_id,
  experiment_name,
  user_id
ORDER BY
  week,
  experiment_name,
  user_id
