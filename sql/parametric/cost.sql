-- purpose: What runs cost: hours, hours of machines, GPUs and cores, and their price.
-- grain: One week, experiment and user with at least one run started in it.
-- depends: chosen_runs, metric_summaries
-- parameter price_per_hour number = 0: The price of an hour of one machine, in any currency.
-- parameter price_per_gpu_hour number = 0: The price of an hour of one GPU.
-- parameter price_per_core_hour number = 0: The price of an hour of one busy core.
-- parameter now time = now: Runs that are running are counted up to this moment.
-- parameter experiments experiments = all: Only these experiments.
-- column week: The start of the week the runs started in: Monday, UTC.
-- column experiment_id: The experiment.
-- column experiment_name: Its name.
-- column user_id: Who ran them, or null.
-- column n_runs: Runs started in this week.
-- column n_unknown: How many of them are lost or only scheduled: their hours aren't known and count as 0.
-- column n_without_system_metrics: How many have no system metrics: their GPUs and cores count as 0, their machines as 1.
-- column hours: Hours from start to end, pauses before a resume included.
-- column machine_hours: The same times the number of machines: of contexts with a `host` in which system metrics were logged.
-- column gpu_hours: The same times the number of GPUs seen in system metrics, over all machines.
-- column gpu_busy_hours: The same times the mean of each GPU's utilisation.
-- column core_hours: Hours times the mean of busy cores of the run's processes.
-- column cost: machine_hours, gpu_hours and core_hours times their prices.

WITH scoped AS (
    SELECT
        run_id,
        DATE_TRUNC('week', started_at) AS week,
        experiment_id,
        experiment_name,
        user_id,
        outcome IN ('lost', 'scheduled') AS is_unknown,
        CASE
            WHEN outcome = 'running'
                THEN GREATEST(CAST(DATE_DIFF('microsecond', started_at, CAST($now AS TIMESTAMPTZ)) AS DOUBLE), 0.0)
                / 1000000
            WHEN is_ended THEN COALESCE(duration_s, 0.0)
            ELSE 0.0
        END / 3600 AS hours
    FROM chosen_runs
),

-- The GPUs are counted by one metric of each: the memory, or where that can't be read, the utilisation.
seen AS (
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
    WHERE key LIKE 'system/%'
    GROUP BY run_id
),

spent AS (
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
    LEFT JOIN seen ON scoped.run_id = seen.run_id
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
    SUM(machine_hours) * CAST($price_per_hour AS DOUBLE)
    + SUM(gpu_hours) * CAST($price_per_gpu_hour AS DOUBLE)
    + SUM(core_hours) * CAST($price_per_core_hour AS DOUBLE) AS cost
FROM spent
GROUP BY week, experiment_id, experiment_name, user_id
ORDER BY week, experiment_name, user_id
