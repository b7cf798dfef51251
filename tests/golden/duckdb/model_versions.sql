WITH folded AS (
  SELECT
    name,
    version,
    ARG_MIN(
      {'source': source, 'run_id': run_id, 'digest': digest, 'actor': actor, 'event_at': event_at},
      seq
    ) FILTER(WHERE
      kind = 'version_created') AS creation,
    ARG_MAX(stage, seq) FILTER(WHERE
      kind = 'stage_set' AND NOT stage IS NULL) AS stage,
    ARG_MAX({'value': value}, seq) FILTER(WHERE
      kind = 'description_set' OR (
        kind = 'version_created' AND NOT value IS NULL
      )) AS last_description,
    ARG_MAX(event_at, seq) AS updated_at,
    ARG_MAX(value, seq) FILTER(WHERE
      kind = 'parent_set') AS parent,
    ARG_MAX(value, seq) FILTER(WHERE
      kind = 'status_set' AND NOT value IS NULL) AS status,
    ARG_MAX(kind, seq) FILTER(WHERE
      kind IN ('version_deleted', 'version_restored')) AS last_end
  FROM live_registry_events
  WHERE
    NOT version IS NULL
  GROUP BY
    name,
    version
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
WHERE
  NOT creation IS NULL
  AND COALESCE(last_end, 'version_restored') = 'version_restored'
