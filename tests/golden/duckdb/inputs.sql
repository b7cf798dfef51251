WITH events AS (
  SELECT
    run_id,
    name,
    digest,
    context,
    {'source_type': source_type, 'source': source, 'schema': schema, 'profile': profile, 'event_at': event_at} AS facts,
    {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq} AS position
  FROM input_events
), folded AS (
  SELECT
    run_id,
    name,
    digest,
    context,
    ARG_MIN(facts, position) AS first_facts
  FROM events
  GROUP BY
    run_id,
    name,
    digest,
    context
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
