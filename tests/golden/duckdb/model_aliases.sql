WITH folded AS (
  SELECT
    name,
    alias,
    MAX(seq) AS last_seq,
    ARG_MAX({'kind': kind, 'version': version, 'event_at': event_at, 'actor': actor}, seq) AS last_move
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
    last_seq,
    last_move.version AS version,
    last_move.event_at AS set_at,
    last_move.actor AS actor
  FROM folded
  WHERE
    last_move.kind = 'alias_set'
), deletions AS (
  SELECT
    name,
    version,
    MAX(seq) AS last_seq
  FROM live_registry_events
  WHERE
    kind = 'version_deleted'
  GROUP BY
    name,
    version
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
LEFT JOIN deletions
  ON pointing.name = deletions.name AND pointing.version = deletions.version
WHERE
  pointing.last_seq > COALESCE(deletions.last_seq, 0)
