WITH folded AS (
  SELECT
    name,
    ARG_MIN(event_at, seq) FILTER(WHERE
      kind = 'model_created') AS created_at,
    ARG_MAX({'value': value}, seq) FILTER(WHERE
      version IS NULL
      AND (
        kind = 'description_set' OR (
          kind = 'model_created' AND NOT value IS NULL
        )
      )) AS last_description,
    ARG_MAX(event_at, seq) AS updated_at
  FROM live_registry_events
  GROUP BY
    name
), counted AS (
  SELECT
    name,
    COUNT(*) AS n_versions,
    MAX(version) AS latest_version
  FROM model_versions
  GROUP BY
    name
)
SELECT
  folded.name,
  folded.last_description.value AS description,
  folded.created_at,
  folded.updated_at,
  COALESCE(counted.n_versions, 0) AS n_versions,
  counted.latest_version
FROM folded
LEFT JOIN counted
  ON folded.name = counted.name
WHERE
  NOT folded.created_at IS NULL
