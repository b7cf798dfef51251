WITH deletions AS (
  SELECT
    experiment_id,
    MAX(event_at) AS deleted_at
  FROM experiment_events
  WHERE
    kind = 'deleted'
  GROUP BY
    experiment_id
)
SELECT
  CAST(NULL AS STRING) AS account_id,
  experiments.updated_at AS update_time,
  CASE WHEN experiments.lifecycle_stage = 'deleted' THEN deletions.deleted_at END AS delete_time,
  experiments.experiment_id,
  CAST(NULL AS STRING) AS workspace_id,
  experiments.name,
  experiments.created_at AS create_time
FROM experiments
LEFT JOIN deletions
  ON experiments.experiment_id = deletions.experiment_id
