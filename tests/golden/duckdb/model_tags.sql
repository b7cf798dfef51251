WITH folded AS (
  SELECT
    name,
    version,
    key,
    ARG_MAX({'value': value}, seq) AS last_setting
  FROM live_registry_events
  WHERE
    kind = 'tag_set' AND NOT key IS NULL
  GROUP BY
    name,
    version,
    key
)
SELECT
  folded.name,
  folded.version,
  folded.key,
  folded.last_setting.value AS value
FROM folded
LEFT JOIN model_versions
  ON folded.name = model_versions.name AND folded.version = model_versions.version
WHERE
  NOT folded.last_setting.value IS NULL
  AND (
    folded.version IS NULL OR NOT model_versions.version IS NULL
  )
