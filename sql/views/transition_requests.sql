-- purpose: The requests to move model versions to a stage or alias, and what was decided.
-- grain: One request.
-- depends: live_registry_events
-- column name: The registered model.
-- column request_id: Its number within the model.
-- column version: The version to move.
-- column stage: The stage it shall come to; null when it is an alias.
-- column alias: The alias; null when it is a stage.
-- column status: `open`, `approved`, `rejected` or `cancelled`.
-- column user_id: Who requested it.
-- column comment: Why, in their words.
-- column requested_at: When.
-- column decided_by: Who decided; null while it is open.
-- column decision_comment: Why, in their words.
-- column decided_at: When.

WITH decisions AS (
    SELECT
        name,
        key,
        ARG_MAX({'kind': kind, 'actor': actor, 'comment': comment, 'event_at': event_at}, seq) AS decision
    FROM live_registry_events
    WHERE kind IN ('request_approved', 'request_rejected', 'request_cancelled')
    GROUP BY name, key
)

SELECT
    opened.name,
    opened.seq AS request_id,
    opened.version,
    opened.stage,
    opened.alias,
    CASE decisions.decision.kind
        WHEN 'request_approved' THEN 'approved'
        WHEN 'request_rejected' THEN 'rejected'
        WHEN 'request_cancelled' THEN 'cancelled'
        ELSE 'open'
    END AS status,
    opened.actor AS user_id,
    opened.comment,
    opened.event_at AS requested_at,
    decisions.decision.actor AS decided_by,
    decisions.decision.comment AS decision_comment,
    decisions.decision.event_at AS decided_at
FROM live_registry_events AS opened
LEFT JOIN decisions ON opened.name = decisions.name AND CAST(opened.seq AS VARCHAR) = decisions.key
WHERE opened.kind = 'transition_requested'
