-- purpose: The files that runs have now.
-- grain: One path of a run.
-- depends: artifact_events
-- column run_id: The run.
-- column path: Where the file stands in the run's artifacts.
-- column digest: SHA-256 of its bytes in hexadecimal.
-- column size_bytes: Its size.
-- column kind: `file`, or `model` for a file of a model package.
-- column logged_at: When the file that stands there now was logged.

WITH events AS (
    SELECT
        run_id,
        path,
        {'digest': digest, 'size_bytes': size_bytes, 'kind': kind, 'event_at': event_at} AS file,
        {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq} AS position
    FROM artifact_events
),

folded AS (
    SELECT
        run_id,
        path,
        ARG_MAX(file, position) AS last_file
    FROM events
    GROUP BY run_id, path
)

SELECT
    run_id,
    path,
    last_file.digest AS digest,
    last_file.size_bytes AS size_bytes,
    last_file.kind AS kind,
    last_file.event_at AS logged_at
FROM folded
