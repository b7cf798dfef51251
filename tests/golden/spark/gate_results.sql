WITH folded AS (
  SELECT
    name,
    version,
    key AS gate,
    MAX_BY(
      STRUCT(value AS value, comment AS comment, actor AS actor, event_at AS event_at),
      seq
    ) AS last_check
  FROM live_registry_events
  WHERE
    kind = 'gate_checked'
  GROUP BY
    name,
    version,
    key
)
SELECT
  folded.name,
  folded.version,
  folded.gate,
  folded.last_check.value = 'passed' AS passed,
  folded.last_check.comment AS detail,
  folded.last_check.actor AS user_id,
  folded.last_check.event_at AS checked_at
FROM folded
INNER JOIN model_versions
  ON folded.name = model_versions.name AND folded.version = model_versions.version
