WITH folded AS (
  SELECT
    name,
    alias,
    MAX_BY(
      STRUCT(kind AS kind, version AS version, event_at AS event_at, actor AS actor),
      seq
    ) AS last_move
  FROM live_registry_events
  WHERE
    kind IN ('alias_set', 'alias_deleted') AND NOT alias IS NULL
  GROUP BY
    name,
    alias
), pointing AS (
  SELECT
    name,
    alias,
    last_move.version AS version,
    last_move.event_at AS set_at,
    last_move.actor AS actor
  FROM folded
  WHERE
    last_move.kind = 'alias_set'
)
SELECT
  pointing.name,
  pointing.alias,
  pointing.version,
  pointing.set_at,
  pointing.actor
FROM pointing
INNER JOIN model_versions
  ON pointing.name = model_versions.name AND pointing.version = model_versions.version
