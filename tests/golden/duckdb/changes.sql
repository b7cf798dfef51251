WITH scoped AS (
  SELECT
    project_runs.run_id,
    project_runs.run_name,
    project_runs.experiment_name,
    project_runs.user_id,
    project_runs.outcome,
    project_runs.duration_s,
    runs.ended_at
  FROM project_runs
  INNER JOIN runs
    ON project_runs.run_id = runs.run_id
  WHERE
    project_runs.is_ended
    AND (
      CAST($experiments AS TEXT[]) IS NULL
      OR ARRAY_CONTAINS(CAST($experiments AS TEXT[]), project_runs.experiment_id)
    )
), happened AS (
  SELECT
    ended_at AS "at",
    'run_' || outcome AS kind,
    experiment_name,
    run_id,
    run_name,
    CAST(NULL AS TEXT) AS model_name,
    CAST(NULL AS BIGINT) AS version,
    CAST(NULL AS TEXT) AS label,
    user_id AS actor,
    duration_s / 3600 AS value,
    CAST(NULL AS DOUBLE) AS before
  FROM scoped
  UNION ALL
  SELECT
    reached_at AS "at",
    'new_best' AS kind,
    experiment_name,
    run_id,
    run_name,
    CAST(NULL AS TEXT) AS model_name,
    CAST(NULL AS BIGINT) AS version,
    CAST(NULL AS TEXT) AS label,
    user_id AS actor,
    value,
    beaten AS before
  FROM goal_records
  WHERE
    series = CAST($metric AS TEXT)
    AND direction = $direction
    AND (
      CAST($experiments AS TEXT[]) IS NULL
      OR ARRAY_CONTAINS(CAST($experiments AS TEXT[]), experiment_id)
    )
  UNION ALL
  SELECT
    event_at AS "at",
    kind,
    CAST(NULL AS TEXT) AS experiment_name,
    run_id,
    CAST(NULL AS TEXT) AS run_name,
    name AS model_name,
    version,
    COALESCE(stage, alias) AS label,
    actor,
    CAST(NULL AS DOUBLE) AS value,
    CAST(NULL AS DOUBLE) AS before
  FROM live_registry_events
  WHERE
    kind IN (
      'model_created',
      'version_created',
      'version_deleted',
      'stage_set',
      'alias_set',
      'alias_deleted'
    )
)
SELECT
  "at",
  kind,
  experiment_name,
  run_id,
  run_name,
  model_name,
  version,
  label,
  actor,
  value,
  before
FROM happened
WHERE
  "at" >= CAST($since AS TIMESTAMPTZ) AND "at" < CAST($until AS TIMESTAMPTZ)
ORDER BY
  "at",
  kind,
  run_id,
  model_name,
  version,
  label
