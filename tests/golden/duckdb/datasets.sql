WITH folded AS (
  SELECT
    name,
    digest,
    ARG_MIN(
      {'source_type': source_type, 'source': source, 'schema': schema, 'profile': profile},
      {'logged_at': logged_at, 'run_id': run_id, 'context': COALESCE(context, '')}
    ) AS first_facts,
    LIST_SORT(ARRAY_AGG(DISTINCT context) FILTER(WHERE
      NOT context IS NULL)) AS contexts,
    LIST_SORT(ARRAY_AGG(DISTINCT run_id)) AS run_ids,
    COUNT(DISTINCT run_id) AS n_runs,
    COUNT(context) AS n_contexts,
    MIN(logged_at) AS first_used_at,
    MAX(logged_at) AS last_used_at
  FROM inputs
  GROUP BY
    name,
    digest
)
SELECT
  name,
  digest,
  first_facts.source_type AS source_type,
  first_facts.source AS source,
  first_facts.schema AS schema,
  first_facts.profile AS profile,
  CASE WHEN n_contexts > 0 THEN contexts END AS contexts,
  n_runs,
  run_ids,
  first_used_at,
  last_used_at
FROM folded
