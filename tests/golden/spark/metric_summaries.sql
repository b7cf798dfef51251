WITH lifted AS (
  SELECT
    run_id,
    key,
    context,
    value AS last,
    step AS last_step,
    event_at AS last_at,
    value AS first,
    step AS first_step,
    event_at AS first_at,
    CASE WHEN NOT ISNAN(value) THEN value END AS min,
    step AS min_step,
    CASE WHEN NOT ISNAN(value) THEN value END AS max,
    step AS max_step,
    CASE WHEN NOT ISNAN(value) THEN value END AS total,
    CASE WHEN ISNAN(value) THEN 0 ELSE 1 END AS n_numbers,
    1 AS count
  FROM metrics
), folded AS (
  SELECT
    run_id,
    key,
    context,
    MAX(STRUCT(last_step AS step, last_at AS event_at, last AS value)) AS last_point,
    MIN(STRUCT(first_step AS step, first_at AS event_at, first AS value)) AS first_point,
    MIN(STRUCT(min AS value, min_step AS step)) FILTER(WHERE
      NOT min IS NULL) AS lowest_point,
    MAX(STRUCT(max AS value, -1 - max_step AS step_complement)) /* The complement orders steps the other way round and, unlike a minus sign, never overflows. */ FILTER(WHERE
      NOT max IS NULL) AS highest_point,
    SUM(total) AS total,
    CAST(SUM(n_numbers) AS BIGINT) AS n_numbers,
    CAST(SUM(count) AS BIGINT) AS count
  FROM lifted
  GROUP BY
    run_id,
    key,
    context
), merged AS (
  SELECT
    run_id,
    key,
    context,
    last_point.value AS last,
    last_point.step AS last_step,
    last_point.event_at AS last_at,
    first_point.value AS first,
    first_point.step AS first_step,
    first_point.event_at AS first_at,
    lowest_point.value AS min,
    lowest_point.step AS min_step,
    highest_point.value AS max,
    -1 - highest_point.step_complement AS max_step,
    total,
    n_numbers,
    count
  FROM folded
), current AS (
  SELECT
    run_id,
    key,
    context,
    CASE WHEN context IS NULL THEN key ELSE key || ' ' || context END AS series,
    last,
    last_step,
    last_at,
    first,
    first_step,
    min,
    min_step,
    max,
    max_step,
    CASE WHEN n_numbers > 0 THEN total / n_numbers END AS mean,
    count
  FROM merged
)
SELECT
  run_id,
  key,
  context,
  series,
  last,
  last_step,
  last_at,
  first,
  first_step,
  min,
  min_step,
  max,
  max_step,
  mean,
  count
FROM current
