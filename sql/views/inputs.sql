-- purpose: The datasets that runs used.
-- grain: One dataset (name and digest) of a run in one context.
-- depends: input_events
-- column run_id: The run.
-- column name: The dataset's name.
-- column digest: A short digest of its content, or as given.
-- column context: What it was used for, or null.
-- column source_type: The kind of place it came from.
-- column source: Where it came from, as text or JSON.
-- column schema: Its columns and types as JSON.
-- column profile: Row count and the like as JSON.
-- column logged_at: When it was first logged.

WITH events AS (
    SELECT
        run_id,
        name,
        digest,
        context,
        {
            'source_type': source_type,
            'source': source,
            'schema': schema,
            'profile': profile,
            'event_at': event_at
        } AS facts,
        {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq} AS position
    FROM input_events
),

folded AS (
    SELECT
        run_id,
        name,
        digest,
        context,
        ARG_MIN(facts, position) AS first_facts
    FROM events
    GROUP BY run_id, name, digest, context
)

SELECT
    run_id,
    name,
    digest,
    context,
    first_facts.source_type AS source_type,
    first_facts.source AS source,
    first_facts.schema AS schema,
    first_facts.profile AS profile,
    first_facts.event_at AS logged_at
FROM folded
