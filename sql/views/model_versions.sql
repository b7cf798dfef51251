-- purpose: The model versions that exist now.
-- grain: One version of a registered model.
-- depends: live_registry_events
-- column name: The registered model.
-- column version: The version's number.
-- column stage: The last stage it was moved to; `None` before that.
-- column description: The last description given, or null.
-- column source: Where its files are.
-- column run_id: The run that made it, or null.
-- column digest: The digest of the model package, or null.
-- column user_id: Who created it.
-- column parent: The version that it was made from, as `models:/name/version`, or null.
-- column status: `READY`: a version is recorded when its files are there.
-- column created_at: When it was created.
-- column updated_at: When the last of its events happened.

WITH folded AS (
    SELECT
        name,
        version,
        ARG_MIN(
            {'source': source, 'run_id': run_id, 'digest': digest, 'actor': actor, 'event_at': event_at}, seq
        ) FILTER (WHERE kind = 'version_created') AS creation,
        ARG_MAX(stage, seq) FILTER (WHERE kind = 'stage_set' AND stage IS NOT NULL) AS stage,
        ARG_MAX({'value': value}, seq) FILTER (
            WHERE kind = 'description_set' OR (kind = 'version_created' AND value IS NOT NULL)
        ) AS last_description,
        ARG_MAX(event_at, seq) AS updated_at,
        ARG_MAX(value, seq) FILTER (WHERE kind = 'parent_set') AS parent,
        ARG_MAX(value, seq) FILTER (WHERE kind = 'status_set' AND value IS NOT NULL) AS status,
        ARG_MAX(kind, seq) FILTER (WHERE kind IN ('version_deleted', 'version_restored')) AS last_end
    FROM live_registry_events
    WHERE version IS NOT NULL
    GROUP BY name, version
)

SELECT
    name,
    version,
    COALESCE(stage, 'None') AS stage,
    last_description.value AS description,
    creation.source AS source,
    creation.run_id AS run_id,
    creation.digest AS digest,
    creation.actor AS user_id,
    parent,
    COALESCE(status, 'READY') AS status,
    creation.event_at AS created_at,
    updated_at
FROM folded
WHERE creation IS NOT NULL AND COALESCE(last_end, 'version_restored') = 'version_restored'
