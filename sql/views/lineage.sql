-- purpose: What came from what: data, runs, model versions and predictions as the edges of one graph.
-- grain: One edge: a kind, where it begins and where it ends.
-- depends: runs, inputs, tags, model_versions, predictions
-- column kind: `used` (dataset to run), `nested` (parent run to child), `forked` (run to the run that continues it), `registered` (run to model version), `derived` (model version to the one made from it), or `scored` (model version, or run, to a prediction set).
-- column source_type: `dataset`, `run` or `model_version`.
-- column source_id: The run's id, `name@digest` of a dataset, or `models:/name/version`.
-- column target_type: `run`, `model_version` or `predictions`.
-- column target_id: As `source_id`; of a prediction set, the name of what was scored.
-- column at: When it came to be: first logged, started, registered, or first scored.

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
    WHERE parent_run_id IS NOT NULL
    UNION ALL
    SELECT
        'forked' AS kind,
        'run' AS source_type,
        tags.value AS source_id,
        'run' AS target_type,
        tags.run_id AS target_id,
        runs.started_at AS at
    FROM tags
    INNER JOIN runs ON tags.run_id = runs.run_id
    WHERE tags.key = 'mlwarehouse.fork.run_id'
    UNION ALL
    SELECT
        'registered' AS kind,
        'run' AS source_type,
        run_id AS source_id,
        'model_version' AS target_type,
        'models:/' || name || '/' || CAST(version AS VARCHAR) AS target_id,
        created_at AS at
    FROM model_versions
    WHERE run_id IS NOT NULL
    UNION ALL
    SELECT
        'derived' AS kind,
        'model_version' AS source_type,
        parent AS source_id,
        'model_version' AS target_type,
        'models:/' || name || '/' || CAST(version AS VARCHAR) AS target_id,
        created_at AS at
    FROM model_versions
    WHERE parent IS NOT NULL
    UNION ALL
    SELECT
        'scored' AS kind,
        CASE WHEN model_name IS NULL THEN 'run' ELSE 'model_version' END AS source_type,
        CASE
            WHEN model_name IS NULL THEN run_id ELSE 'models:/' || model_name || '/' || CAST(model_version AS VARCHAR)
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
WHERE source_id IS NOT NULL
GROUP BY kind, source_type, source_id, target_type, target_id
