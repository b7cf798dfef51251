WITH starts AS (
  SELECT
    run_id,
    key,
    COALESCE(context, '') AS context,
    attempt,
    MIN(step) AS first_step
  FROM metrics
  WHERE
    attempt > 0
  GROUP BY
    run_id,
    key,
    COALESCE(context, ''),
    attempt
), cuts /* For each later attempt of a series, the attempts that it is the next of: one row at most concerns a point. */ AS (
  SELECT
    run_id,
    key,
    context,
    attempt AS before_attempt,
    COALESCE(
      MAX(attempt) OVER (
        PARTITION BY run_id, key, context
        ORDER BY attempt
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
      ),
      0
    ) AS from_attempt,
    MIN(first_step) OVER (
      PARTITION BY run_id, key, context
      ORDER BY attempt
      ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
    ) AS from_step
  FROM starts
)
SELECT
  metrics.run_id,
  metrics.key,
  metrics.step,
  metrics.value,
  metrics.context,
  metrics.attempt,
  metrics.event_at
FROM metrics
LEFT JOIN cuts
  ON metrics.run_id = cuts.run_id
  AND metrics.key = cuts.key
  AND COALESCE(metrics.context, '') = cuts.context
  AND metrics.attempt >= cuts.from_attempt
  AND metrics.attempt < cuts.before_attempt
  AND metrics.step >= cuts.from_step
WHERE
  cuts.run_id IS NULL
