SELECT
  CAST(NULL AS STRING) AS account_id,
  metrics.recorded_at AS insert_time,
  metrics.writer_id || '-' || CAST(metrics.writer_seq AS STRING) AS record_id,
  CAST(NULL AS STRING) AS workspace_id,
  runs.experiment_id,
  CASE
    WHEN metrics.context IS NULL
    THEN metrics.key
    ELSE metrics.key || ' ' || metrics.context
  END AS metric_name,
  metrics.event_at AS metric_time,
  metrics.step AS metric_step,
  metrics.value AS metric_value,
  metrics.run_id
FROM metrics
INNER JOIN runs
  ON metrics.run_id = runs.run_id
