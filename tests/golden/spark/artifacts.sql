WITH events AS (
  SELECT
    run_id,
    path,
    STRUCT(digest AS digest, size_bytes AS size_bytes, kind AS kind, event_at AS event_at) AS file,
    STRUCT(recorded_at AS recorded_at, writer_id AS writer_id, writer_seq AS writer_seq) AS position
  FROM artifact_events
), folded AS (
  SELECT
    run_id,
    path,
    MAX_BY(file, position) AS last_file
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
