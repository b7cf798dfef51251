-- purpose: The datasets that runs have used, each once, however often it was logged.
-- grain: One dataset: a name and a digest.
-- depends: inputs
-- column name: The dataset's name.
-- column digest: A short digest of its content, or as given.
-- column source_type: The kind of place it came from, as it was first logged.
-- column source: Where it came from, as text or JSON, as it was first logged.
-- column schema: Its columns and types as JSON, as it was first logged.
-- column profile: Row count and the like as JSON, as it was first logged.
-- column contexts: What runs used it for, each once, sorted; null when no run said.
-- column n_runs: How many runs used it.
-- column run_ids: These runs, sorted.
-- column first_used_at: When a run first logged it.
-- column last_used_at: When a run last logged it for the first time.

WITH folded AS (
    SELECT
        name,
        digest,
        ARG_MIN(
            {'source_type': source_type, 'source': source, 'schema': schema, 'profile': profile},
            {'logged_at': logged_at, 'run_id': run_id, 'context': COALESCE(context, '')}
        ) AS first_facts,
        LIST_SORT(ARRAY_AGG(DISTINCT context) FILTER (WHERE context IS NOT NULL)) AS contexts,
        LIST_SORT(ARRAY_AGG(DISTINCT run_id)) AS run_ids,
        COUNT(DISTINCT run_id) AS n_runs,
        COUNT(context) AS n_contexts,
        MIN(logged_at) AS first_used_at,
        MAX(logged_at) AS last_used_at
    FROM inputs
    GROUP BY name, digest
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
