WITH versions AS (
  SELECT
    name,
    version,
    stage,
    created_at
  FROM model_versions
  WHERE
    CAST($models AS TEXT[]) IS NULL OR ARRAY_CONTAINS(CAST($models AS TEXT[]), name)
), moves AS (
  SELECT
    events.name,
    events.version,
    events.stage,
    MIN(events.event_at) AS reached_at
  FROM live_registry_events AS events
  WHERE
    events.kind = 'stage_set' AND NOT events.stage IS NULL AND events.stage <> 'None'
  GROUP BY
    events.name,
    events.version,
    events.stage
), reached AS (
  SELECT
    name,
    version,
    'None' AS stage,
    created_at AS reached_at,
    stage = 'None' AS is_there,
    CAST(0 AS DOUBLE) AS days
  FROM versions
  UNION ALL
  SELECT
    versions.name,
    versions.version,
    moves.stage,
    moves.reached_at,
    versions.stage = moves.stage AS is_there,
    CAST(DATE_DIFF('MICROSECOND', versions.created_at, moves.reached_at) AS DOUBLE) / 86400000000 AS days
  FROM versions
  INNER JOIN moves
    ON versions.name = moves.name AND versions.version = moves.version
), placed AS (
  SELECT
    *,
    ROW_NUMBER() OVER (PARTITION BY name, stage ORDER BY days, version) AS place,
    COUNT(*) OVER (PARTITION BY name, stage) AS n_ever
  FROM reached
), totals AS (
  SELECT
    name,
    COUNT(*) AS n_versions
  FROM versions
  GROUP BY
    name
)
SELECT
  placed.name,
  placed.stage,
  COUNT(CASE WHEN placed.is_there THEN 1 END) AS n_now,
  COUNT(*) AS n_ever,
  CAST(COUNT(*) AS DOUBLE) / MAX(totals.n_versions) AS share_ever,
  AVG(CASE WHEN ABS(2 * placed.place - placed.n_ever - 1) <= 1 THEN placed.days END) AS days_to_reach,
  MAX(placed.reached_at) AS last_reached_at
FROM placed
INNER JOIN totals
  ON placed.name = totals.name
GROUP BY
  placed.name,
  placed.stage
ORDER BY
  placed.name,
  CASE placed.stage
    WHEN 'None'
    THEN 0
    WHEN 'Development'
    THEN 1
    WHEN 'Staging'
    THEN 2
    WHEN 'Production'
    THEN 3
    ELSE 4
  END
