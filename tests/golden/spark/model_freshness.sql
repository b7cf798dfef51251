WITH stages AS (
  SELECT
    name,
    version,
    MAX_BY(STRUCT(stage AS stage, event_at AS event_at, actor AS actor), seq) AS last_move
  FROM live_registry_events
  WHERE
    kind = 'stage_set' AND NOT stage IS NULL
  GROUP BY
    name,
    version
), labels AS (
  SELECT
    name,
    version,
    'stage' AS label_type,
    last_move.stage AS label,
    last_move.event_at AS since,
    last_move.actor AS actor
  FROM stages
  WHERE
    last_move.stage <> 'None'
  UNION ALL
  SELECT
    name,
    version,
    'alias' AS label_type,
    alias AS label,
    set_at AS since,
    actor
  FROM model_aliases
), scored AS (
  SELECT
    model_name,
    model_version,
    MAX(event_at) AS last_scored_at
  FROM predictions
  WHERE
    NOT model_name IS NULL
  GROUP BY
    model_name,
    model_version
), numbered /* Numbers may have gaps: versions are deleted. */ AS (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY name ORDER BY version DESC) - 1 AS n_newer
  FROM model_versions
)
SELECT
  labels.name,
  labels.label_type,
  labels.label,
  labels.version,
  labels.since,
  CAST(DATEDIFF(MICROSECOND, labels.since, CAST(:now AS TIMESTAMP)) AS DOUBLE) / 86400000000 AS days_since,
  labels.actor,
  versions.created_at,
  CAST(DATEDIFF(MICROSECOND, versions.created_at, CAST(:now AS TIMESTAMP)) AS DOUBLE) / 86400000000 AS days_since_created,
  versions.run_id,
  runs.ended_at AS run_ended_at,
  scored.last_scored_at,
  versions.n_newer
FROM labels
INNER JOIN numbered AS versions
  ON labels.name = versions.name AND labels.version = versions.version
LEFT JOIN runs
  ON versions.run_id = runs.run_id
LEFT JOIN scored
  ON labels.name = scored.model_name AND labels.version = scored.model_version
WHERE
  CAST(:models AS ARRAY<STRING>) IS NULL
  OR ARRAY_CONTAINS(CAST(:models AS ARRAY<STRING>), labels.name)
ORDER BY
  labels.name NULLS LAST,
  labels.label_type NULLS LAST,
  labels.label NULLS LAST,
  labels.version NULLS LAST
