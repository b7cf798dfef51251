-- purpose: The runs in the columns of Databricks' `system.mlflow.runs_latest`, for questions written for that table.
-- grain: One run, deleted ones included.
-- depends: runs, run_events, params, tags, metric_summaries
-- column account_id: Always null: a warehouse has no account.
-- column update_time: When the last of its run events happened, or its latest metric point, whichever is later.
-- column delete_time: When it was deleted; null while it isn't.
-- column workspace_id: Always null: a warehouse has no workspace.
-- column run_id: The run.
-- column experiment_id: The experiment it belongs to.
-- column created_by: Who started it first.
-- column start_time: When it first started.
-- column end_time: When it last ended; null while it runs.
-- column run_name: Its name.
-- column status: As in `runs`.
-- column params: Its params as a map of text to text, sorted by key; null when it has none.
-- column tags: Its tags as a map of text to text, sorted by key; null when it has none.
-- column aggregated_metrics: A list of structs, sorted by name: `metric_name` (the series), `latest_value`, `min_value`, `max_value`; null when it has none.

WITH changed AS (
    SELECT
        run_id,
        MAX(event_at) AS last_event_at,
        MAX(CASE WHEN kind = 'deleted' THEN event_at END) AS deleted_at
    FROM run_events
    GROUP BY run_id
),

run_params AS (
    SELECT
        run_id,
        MAP_FROM_ENTRIES(LIST_SORT(ARRAY_AGG({'key': key, 'value': value}))) AS params
    FROM params
    GROUP BY run_id
),

run_tags AS (
    SELECT
        run_id,
        MAP_FROM_ENTRIES(LIST_SORT(ARRAY_AGG({'key': key, 'value': value}))) AS tags
    FROM tags
    GROUP BY run_id
),

run_metrics AS (
    SELECT
        run_id,
        MAX(last_at) AS last_point_at,
        LIST_SORT(
            ARRAY_AGG({'metric_name': series, 'latest_value': last, 'min_value': min, 'max_value': max})
        ) AS aggregated_metrics
    FROM metric_summaries
    GROUP BY run_id
)

SELECT
    CAST(NULL AS VARCHAR) AS account_id,
    GREATEST(changed.last_event_at, COALESCE(run_metrics.last_point_at, changed.last_event_at)) AS update_time,
    CASE WHEN runs.lifecycle_stage = 'deleted' THEN changed.deleted_at END AS delete_time,
    CAST(NULL AS VARCHAR) AS workspace_id,
    runs.run_id,
    runs.experiment_id,
    runs.user_id AS created_by,
    runs.started_at AS start_time,
    runs.ended_at AS end_time,
    runs.run_name,
    runs.status,
    run_params.params,
    run_tags.tags,
    run_metrics.aggregated_metrics
FROM runs
LEFT JOIN changed ON runs.run_id = changed.run_id
LEFT JOIN run_params ON runs.run_id = run_params.run_id
LEFT JOIN run_tags ON runs.run_id = run_tags.run_id
LEFT JOIN run_metrics ON runs.run_id = run_metrics.run_id
