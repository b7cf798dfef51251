-- purpose: The experiments in the columns of Databricks' `system.mlflow.experiments_latest`, for questions written for that table.
-- grain: One experiment, deleted ones included.
-- depends: experiments, experiment_events
-- column account_id: Always null: a warehouse has no account.
-- column update_time: When the last of its events happened.
-- column delete_time: When it was deleted; null while it isn't.
-- column experiment_id: The experiment.
-- column workspace_id: Always null: a warehouse has no workspace.
-- column name: Its name.
-- column create_time: When it was created.

WITH deletions AS (
    SELECT
        experiment_id,
        MAX(event_at) AS deleted_at
    FROM experiment_events
    WHERE kind = 'deleted'
    GROUP BY experiment_id
)

SELECT
    CAST(NULL AS VARCHAR) AS account_id,
    experiments.updated_at AS update_time,
    CASE WHEN experiments.lifecycle_stage = 'deleted' THEN deletions.deleted_at END AS delete_time,
    experiments.experiment_id,
    CAST(NULL AS VARCHAR) AS workspace_id,
    experiments.name,
    experiments.created_at AS create_time
FROM experiments
LEFT JOIN deletions ON experiments.experiment_id = deletions.experiment_id
