WITH folded AS (
  SELECT
    principal,
    role,
    object,
    MAX(seq) AS last_seq,
    MAX_BY(
      STRUCT(kind AS kind, actor AS actor, comment AS comment, event_at AS event_at),
      seq
    ) AS last_change
  FROM access_events
  /* What a purge made forget is nobody's. */
  WHERE
    kind IN ('role_granted', 'role_revoked') AND principal <> 'purged'
  GROUP BY
    principal,
    role,
    object
), removals AS (
  SELECT
    principal,
    MAX(seq) AS last_seq
  FROM access_events
  WHERE
    kind = 'user_removed'
  GROUP BY
    principal
)
SELECT
  folded.principal,
  folded.role,
  folded.object,
  folded.last_change.event_at AS granted_at,
  folded.last_change.actor AS actor,
  folded.last_change.comment AS comment
FROM folded
LEFT JOIN removals
  ON folded.principal = removals.principal
WHERE
  folded.last_change.kind = 'role_granted'
  AND folded.last_seq > COALESCE(removals.last_seq, 0)
