-- purpose: What a project overview counts: each run with its outcome, its time and its day.
-- grain: One run that isn't deleted, in an experiment that isn't.
-- depends: runs, experiments
-- column run_id: The run.
-- column run_name: Its name.
-- column experiment_id: Its experiment.
-- column experiment_name: The experiment's name, or its id where it has none.
-- column user_id: Who ran it, or null.
-- column outcome: `finished`, `failed`, `killed`, `running`, `scheduled`, or `lost` (running, with a missed heartbeat).
-- column is_ended: Whether the outcome is `finished`, `failed` or `killed`.
-- column started_at: When it started.
-- column day: The start of the UTC day it started on.
-- column duration_s: Seconds it took; null until they are known.

WITH classified AS (
    SELECT
        runs.run_id,
        runs.run_name,
        runs.experiment_id,
        COALESCE(runs.experiment_name, runs.experiment_id) AS experiment_name,
        runs.user_id,
        CASE WHEN runs.is_lost THEN 'lost' ELSE LOWER(runs.status) END AS outcome,
        runs.started_at,
        runs.duration_s
    FROM runs
    LEFT JOIN experiments ON runs.experiment_id = experiments.experiment_id
    WHERE runs.lifecycle_stage = 'active' AND COALESCE(experiments.lifecycle_stage, 'active') = 'active'
)

SELECT
    run_id,
    run_name,
    experiment_id,
    experiment_name,
    user_id,
    outcome,
    outcome IN ('finished', 'failed', 'killed') AS is_ended,
    started_at,
    DATE_TRUNC('day', started_at) AS day,
    duration_s
FROM classified
