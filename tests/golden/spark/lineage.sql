WITH edges AS (
  SELECT
    'used' AS kind,
    'dataset' AS source_type,
    name || '@' || digest AS source_id,
    'run' AS target_type,
    run_id AS target_id,
    logged_at AS at
  FROM inputs
  UNION ALL
  SELECT
    'nested' AS kind,
    'run' AS source_type,
    parent_run_id AS source_id,
    'run' AS target_type,
    run_id AS target_id,
    started_at AS at
  FROM runs
  WHERE
    NOT parent_run_id IS NULL
  UNION ALL
  SELECT
    'forked' AS kind,
    'run' AS source_type,
    tags.value AS source_id,
    'run' AS target_type,
    tags.run_id AS target_id,
    runs.started_at AS at
  FROM tags
  INNER JOIN runs
    ON tags.run_id = runs.run_id
  WHERE
    tags.key = 'mlwarehouse.fork.run_id'
  UNION ALL
  SELECT
    'registered' AS kind,
    'run' AS source_type,
    run_id AS source_id,
    'model_version' AS target_type,
    'models:/' || name || '/' || CAST(version AS STRING) AS target_id,
    created_at AS at
  FROM model_versions
  WHERE
    NOT run_id IS NULL
  UNION ALL
  SELECT
    'derived' AS kind,
    'model_version' AS source_type,
    parent AS source_id,
    'model_version' AS target_type,
    'models:/' || name || '/' || CAST(version AS STRING) AS target_id,
    created_at AS at
  FROM model_versions
  WHERE
    NOT parent IS NULL
  UNION ALL
  SELECT
    'scored' AS kind,
    CASE WHEN model_name IS NULL THEN 'run' ELSE 'model_version' END AS source_type,
    CASE
      WHEN model_name IS NULL
      THEN run_id
      ELSE 'models:/' || model_name || '/' || CAST(model_version AS STRING)
    END AS source_id,
    'predictions' AS target_type,
    dataset AS target_id,
    event_at AS at
  FROM predictions
)
SELECT
  kind,
  source_type,
  source_id,
  target_type,
  target_id,
  MIN(at) AS at
FROM edges
WHERE
  NOT source_id IS NULL
GROUP BY
  kind,
  source_type,
  source_id,
  target_type,
  target_id
