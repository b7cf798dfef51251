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

folded AS (
    SELECT
        run_id,
        ARG_MIN(
            {
                'experiment_id': experiment_id,
                'started_at': event_at,
                'parent_run_id': parent_run_id,
                'actor': actor
            },
            position
        ) FILTER (WHERE kind = 'started') AS first_start,
        ARG_MAX(name, position) FILTER (WHERE kind IN ('started', 'renamed') AND name IS NOT NULL) AS run_name,
        ARG_MAX(status, place) FILTER (WHERE status IS NOT NULL) AS status,
        ARG_MAX({'kind': kind, 'event_at': event_at}, place) FILTER (WHERE kind IN ('ended', 'resumed')) AS last_turn,
        ARG_MAX(kind, position) FILTER (WHERE kind IN ('deleted', 'restored')) AS last_switch,
        ARG_MAX(heartbeat_due_at, place) FILTER (WHERE heartbeat_due_at IS NOT NULL) AS last_promise,
        MAX(attempt) AS attempt
    FROM events
    GROUP BY run_id
),

states AS (
    SELECT
        run_id,
        first_start.experiment_id AS experiment_id,
        run_name,
        first_start.actor AS user_id,
        status,
        CASE WHEN last_switch = 'deleted' THEN 'deleted' ELSE 'active' END AS lifecycle_stage,
        first_start.started_at AS started_at,
        CASE WHEN last_turn.kind = 'ended' THEN last_turn.event_at END AS ended_at,
        attempt,
        first_start.parent_run_id AS parent_run_id,
        CASE WHEN status = 'RUNNING' THEN last_promise END AS heartbeat_due_at
    FROM folded
    WHERE first_start IS NOT NULL
)

SELECT
    states.run_id,
    states.experiment_id,
    experiments.name AS experiment_name,
    states.run_name,
    states.user_id,
    states.status,
    states.lifecycle_stage,
    states.started_at,
    states.ended_at,
    CAST(DATE_DIFF('microsecond', states.started_at, states.ended_at) AS DOUBLE) / 1000000 AS duration_s,
    states.attempt,
    states.parent_run_id,
    states.heartbeat_due_at,
    COALESCE(states.heartbeat_due_at < CURRENT_TIMESTAMP, FALSE) AS is_lost
FROM states
LEFT JOIN experiments ON states.experiment_id = experiments.experiment_id
