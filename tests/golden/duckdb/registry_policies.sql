WITH folded AS (
  SELECT
    key AS policy,
    ARG_MAX(
      {'kind': kind, 'value': value, 'actor': actor, 'comment': comment, 'event_at': event_at},
      seq
    ) AS last_setting
  FROM registry_events
  WHERE
    model_name = ':policies'
  GROUP BY
    key
)
SELECT
  policy,
  last_setting.value AS rule,
  last_setting.actor AS user_id,
  last_setting.comment AS comment,
  last_setting.event_at AS set_at
FROM folded
WHERE
  last_setting.kind = 'policy_set'
