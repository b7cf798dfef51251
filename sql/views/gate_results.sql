-- purpose: What checks of model versions found last.
-- grain: One gate of a model version that exists.
-- depends: live_registry_events, model_versions
-- column name: The registered model.
-- column version: The version.
-- column gate: The check's name.
-- column passed: Whether it passed.
-- column detail: What it found, or null.
-- column user_id: Who ran it.
-- column checked_at: When.

WITH folded AS (
    SELECT
        name,
        version,
        key AS gate,
        ARG_MAX({'value': value, 'comment': comment, 'actor': actor, 'event_at': event_at}, seq) AS last_check
    FROM live_registry_events
    WHERE kind = 'gate_checked'
    GROUP BY name, version, key
)

SELECT
    folded.name,
    folded.version,
    folded.gate,
    folded.last_check.value = 'passed' AS passed,
    folded.last_check.comment AS detail,
    folded.last_check.actor AS user_id,
    folded.last_check.event_at AS checked_at
FROM folded
INNER JOIN model_versions ON folded.name = model_versions.name AND folded.version = model_versions.version
