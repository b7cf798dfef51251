-- purpose: What changed between two moments: runs that ended, records they set, and what happened to registered models.
-- grain: One thing that happened.
-- depends: project_runs, runs, goal_records, live_registry_events
-- parameter since time: From this moment on.
-- parameter until time = now: Up to this moment, without it.
-- parameter metric metric = none: The metric whose records count; without one there are none.
-- parameter direction min|max = min: `min` where lower is better, `max` where higher is.
-- parameter experiments experiments = all: Only runs of these experiments; models are told all the same.
-- column at: When it happened.
-- column kind: `run_finished`, `run_failed`, `run_killed`, `new_best`, `version_created`, `stage_set`, `alias_set`, `alias_deleted`, `version_deleted` or `model_created`.
-- column experiment_name: The run's experiment; null for models.
-- column run_id: The run; for `version_created`, the one that made it.
-- column run_name: Its name.
-- column model_name: The registered model; null for runs.
-- column version: Its version, or null.
-- column label: The stage or the alias, for those kinds.
-- column actor: Who ran or did it, or null.
-- column value: The record, for `new_best`; hours, for runs that ended.
-- column before: The record before, for `new_best`; null for an experiment's first.

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
    INNER JOIN runs ON project_runs.run_id = runs.run_id
    WHERE
        project_runs.is_ended
        AND (
            CAST($experiments AS VARCHAR[]) IS NULL
            OR LIST_CONTAINS(CAST($experiments AS VARCHAR[]), project_runs.experiment_id)
        )
),

happened AS (
    SELECT
        ended_at AS at,
        'run_' || outcome AS kind,
        experiment_name,
        run_id,
        run_name,
        CAST(NULL AS VARCHAR) AS model_name,
        CAST(NULL AS BIGINT) AS version,
        CAST(NULL AS VARCHAR) AS label,
        user_id AS actor,
        duration_s / 3600 AS value,
        CAST(NULL AS DOUBLE) AS before
    FROM scoped
    UNION ALL
    SELECT
        reached_at AS at,
        'new_best' AS kind,
        experiment_name,
        run_id,
        run_name,
        CAST(NULL AS VARCHAR) AS model_name,
        CAST(NULL AS BIGINT) AS version,
        CAST(NULL AS VARCHAR) AS label,
        user_id AS actor,
        value,
        beaten AS before
    FROM goal_records
    WHERE
        series = CAST($metric AS VARCHAR)
        AND direction = $direction
        AND (CAST($experiments AS VARCHAR[]) IS NULL OR LIST_CONTAINS(CAST($experiments AS VARCHAR[]), experiment_id))
    UNION ALL
    SELECT
        event_at AS at,
        kind,
        CAST(NULL AS VARCHAR) AS experiment_name,
        run_id,
        CAST(NULL AS VARCHAR) AS run_name,
        name AS model_name,
        version,
        COALESCE(stage, alias) AS label,
        actor,
        CAST(NULL AS DOUBLE) AS value,
        CAST(NULL AS DOUBLE) AS before
    FROM live_registry_events
    WHERE kind IN ('model_created', 'version_created', 'version_deleted', 'stage_set', 'alias_set', 'alias_deleted')
)

SELECT
    at,
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
WHERE at >= CAST($since AS TIMESTAMPTZ) AND at < CAST($until AS TIMESTAMPTZ)
ORDER BY at, kind, run_id, model_name, version, label
