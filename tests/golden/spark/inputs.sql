WITH events AS (
  SELECT
    run_id,
    name,
    digest,
    context,
    STRUCT(
      source_type AS source_type,
      source AS source,
      schema AS schema,
      profile AS profile,
      event_at AS event_at
    ) AS facts,
    STRUCT(recorded_at AS recorded_at, writer_id AS writer_id, writer_seq AS writer_seq) AS position
  FROM input_events
), folded AS (
  SELECT
    run_id,
    name,
    digest,
    context,
    MIN_BY(facts, position) AS first_facts
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
