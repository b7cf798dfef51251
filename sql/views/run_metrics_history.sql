-- purpose: Every metric point in the columns of Databricks' `system.mlflow.run_metrics_history`, for questions written for that table.
-- grain: One metric point of a run, as logged.
-- depends: metrics, runs
-- column account_id: Always null: a warehouse has no account.
-- column insert_time: When it was recorded.
-- column record_id: Its writer and the writer's number for it: no two points have the same.
-- column workspace_id: Always null: a warehouse has no workspace.
-- column experiment_id: The experiment of its run.
-- column metric_name: The series: the key, or key, a space and the context where there is one.
-- column metric_time: Its time.
-- column metric_step: Its step.
-- column metric_value: Its value; may be NaN or infinite.
-- column run_id: The run.

SELECT
    CAST(NULL AS VARCHAR) AS account_id,
    metrics.recorded_at AS insert_time,
    metrics.writer_id || '-' || CAST(metrics.writer_seq AS VARCHAR) AS record_id,
    CAST(NULL AS VARCHAR) AS workspace_id,
    runs.experiment_id,
    CASE WHEN metrics.context IS NULL THEN metrics.key ELSE metrics.key || ' ' || metrics.context END AS metric_name,
    metrics.event_at AS metric_time,
    metrics.step AS metric_step,
    metrics.value AS metric_value,
    metrics.run_id
FROM metrics
INNER JOIN runs ON metrics.run_id = runs.run_id
