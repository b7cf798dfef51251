WITH settings AS (
  SELECT
    key AS webhook_id,
    MAX_BY(
      STRUCT(kind AS kind, value AS value, actor AS actor, comment AS comment, event_at AS event_at),
      seq
    ) AS last_setting
  FROM registry_events
  WHERE
    model_name = ':webhooks' AND kind IN ('webhook_set', 'webhook_removed')
  GROUP BY
    key
), failures AS (
  SELECT
    key AS webhook_id,
    COUNT(*) AS n_failed,
    MAX_BY(STRUCT(value AS value, event_at AS event_at), seq) AS last_failure
  FROM registry_events
  WHERE
    model_name = ':webhooks' AND kind = 'webhook_failed'
  GROUP BY
    key
)
SELECT
  settings.webhook_id,
  settings.last_setting.value AS definition,
  settings.last_setting.actor AS user_id,
  settings.last_setting.comment AS comment,
  settings.last_setting.event_at AS set_at,
  COALESCE(failures.n_failed, 0) AS n_failed,
  failures.last_failure.event_at AS last_failed_at,
  failures.last_failure.value AS last_failure
FROM settings
LEFT JOIN failures
  ON settings.webhook_id = failures.webhook_id
WHERE
  settings.last_setting.kind = 'webhook_set'
