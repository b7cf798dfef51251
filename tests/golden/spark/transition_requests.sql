WITH decisions AS (
  SELECT
    name,
    key,
    MAX_BY(
      STRUCT(kind AS kind, actor AS actor, comment AS comment, event_at AS event_at),
      seq
    ) AS decision
  FROM live_registry_events
  WHERE
    kind IN ('request_approved', 'request_rejected', 'request_cancelled')
  GROUP BY
    name,
    key
)
SELECT
  opened.name,
  opened.seq AS request_id,
  opened.version,
  opened.stage,
  opened.alias,
  CASE decisions.decision.kind
    WHEN 'request_approved'
    THEN 'approved'
    WHEN 'request_rejected'
    THEN 'rejected'
    WHEN 'request_cancelled'
    THEN 'cancelled'
    ELSE 'open'
  END AS status,
  opened.actor AS user_id,
  opened.comment,
  opened.event_at AS requested_at,
  decisions.decision.actor AS decided_by,
  decisions.decision.comment AS decision_comment,
  decisions.decision.event_at AS decided_at
FROM live_registry_events AS opened
LEFT JOIN decisions
  ON opened.name = decisions.name AND CAST(opened.seq AS STRING) = decisions.key
WHERE
  opened.kind = 'transition_requested'
