-- purpose: The runs and the state each is in now.
-- grain: One run.
-- depends: run_events, experiments
-- column run_id: The run.
-- column experiment_id: The experiment it belongs to: that of its first start.
-- column experiment_name: The experiment's name now.
-- column run_name: Its name: that of the last event that gave one.
-- column user_id: Who started it first.
-- column status: `RUNNING`, `SCHEDULED`, `FINISHED`, `FAILED` or `KILLED`: that of the last event of its last attempt.
-- column lifecycle_stage: `active` or `deleted`.
-- column started_at: When it first started.
-- column ended_at: When it last ended; null while it runs, also after a resume.
-- column duration_s: Seconds from the first start to the last end, pauses before a resume included; null while it runs.
-- column attempt: How many times it was resumed.
-- column parent_run_id: The run it is nested in, or null.
-- column heartbeat_due_at: When the next heartbeat is promised; null when it isn't running or promised none.
-- column is_lost: It is running and its last promise of a heartbeat is past.

WITH events AS (
    SELECT
        *,
        {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq} AS position,
        -- By the attempt first: what two processes have logged may be recorded in one batch, in either order.
        {
            'attempt': attempt, 'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq
        } AS place
    FROM run_events
),

lifted AS (
    SELECT
        run_id,
        CASE
            WHEN kind = 'started'
                THEN {
                    'position': position,
                    'experiment_id': experiment_id,
                    'started_at': event_at,
                    'parent_run_id': parent_run_id,
                    'actor': actor
                }
        END AS first_start,
        CASE WHEN kind IN ('started', 'renamed') AND name IS NOT NULL THEN {'position': position, 'name': name} END
            AS last_name,
        CASE WHEN status IS NOT NULL THEN {'place': place, 'status': status} END AS last_status,
        CASE WHEN kind IN ('ended', 'resumed') THEN {'place': place, 'kind': kind, 'event_at': event_at} END
            AS last_turn,
        CASE WHEN kind IN ('deleted', 'restored') THEN {'position': position, 'kind': kind} END AS last_switch,
        CASE
            WHEN heartbeat_due_at IS NOT NULL THEN {'place': place, 'heartbeat_due_at': heartbeat_due_at}
        END AS last_promise,
        attempt AS last_attempt
    FROM events
),

merged AS (
    SELECT
        run_id,
        MIN(first_start) AS first_start,
        MAX(last_name) AS last_name,
        MAX(last_status) AS last_status,
        MAX(last_turn) AS last_turn,
        MAX(last_switch) AS last_switch,
        MAX(last_promise) AS last_promise,
        MAX(last_attempt) AS last_attempt
    FROM lifted
    GROUP BY run_id
),

current AS (
    SELECT
        run_id,
        first_start.experiment_id AS experiment_id,
        last_name.name AS run_name,
        first_start.actor AS user_id,
        last_status.status AS status,
        CASE WHEN last_switch.kind = 'deleted' THEN 'deleted' ELSE 'active' END AS lifecycle_stage,
        first_start.started_at AS started_at,
        CASE WHEN last_turn.kind = 'ended' THEN last_turn.event_at END AS ended_at,
        last_attempt AS attempt,
        first_start.parent_run_id AS parent_run_id,
        CASE WHEN last_status.status = 'RUNNING' THEN last_promise.heartbeat_due_at END AS heartbeat_due_at
    FROM merged
)

SELECT
    current.run_id,
    current.experiment_id,
    experiments.name AS experiment_name,
    current.run_name,
    current.user_id,
    current.status,
    current.lifecycle_stage,
    current.started_at,
    current.ended_at,
    CAST(DATE_DIFF('microsecond', current.started_at, current.ended_at) AS DOUBLE) / 1000000 AS duration_s,
    current.attempt,
    current.parent_run_id,
    current.heartbeat_due_at,
    COALESCE(current.heartbeat_due_at < CURRENT_TIMESTAMP, FALSE) AS is_lost
FROM current
LEFT JOIN experiments ON current.experiment_id = experiments.experiment_id
WHERE current.started_at IS NOT NULL
