WITH events AS (
  SELECT
    run_id,
    path,
    {'digest': digest, 'size_bytes': size_bytes, 'kind': kind, 'event_at': event_at} AS file,
    {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq} AS position
  FROM artifact_events
), folded AS (
  SELECT
    run_id,
    path,
    ARG_MAX(file, position) AS last_file
  FROM events
  GROUP BY
    run_id,
    path
)
SELECT
  run_id,
  path,
  last_file.digest AS digest,
  last_file.size_bytes AS size_bytes,
  last_file.kind AS kind,
  last_file.event_at AS logged_at
FROM folded
