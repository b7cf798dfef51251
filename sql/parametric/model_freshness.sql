-- purpose: How old what is in use is: the version that each stage and alias stands for, since when, and what it was made from.
-- grain: One version with a stage other than `None`, or with an alias, for each of them.
-- depends: model_versions, model_aliases, live_registry_events, runs, predictions
-- parameter models texts = all: Only these registered models.
-- parameter now time = now: Ages are counted up to this moment.
-- column name: The registered model.
-- column label_type: `stage` or `alias`.
-- column label: The stage, or the alias.
-- column version: The version.
-- column since: When it was last moved there.
-- column days_since: Days from then until `now`.
-- column actor: Who moved it, or null.
-- column created_at: When the version was created.
-- column days_since_created: Days from then until `now`.
-- column run_id: The run that made it, or null.
-- column run_ended_at: When that run ended; null when that isn't known.
-- column last_scored_at: When it last scored rows whose predictions are in the warehouse; null when it never did.
-- column n_newer: Versions of the model with a higher number.

WITH stages AS (
    SELECT
        name,
        version,
        ARG_MAX({'stage': stage, 'event_at': event_at, 'actor': actor}, seq) AS last_move
    FROM live_registry_events
    WHERE kind = 'stage_set' AND stage IS NOT NULL
    GROUP BY name, version
),

labels AS (
    SELECT
        name,
        version,
        'stage' AS label_type,
        last_move.stage AS label,
        last_move.event_at AS since,
        last_move.actor AS actor
    FROM stages
    WHERE last_move.stage <> 'None'
    UNION ALL
    SELECT
        name,
        version,
        'alias' AS label_type,
        alias AS label,
        set_at AS since,
        actor
    FROM model_aliases
),

scored AS (
    SELECT
        model_name,
        model_version,
        MAX(event_at) AS last_scored_at
    FROM predictions
    WHERE model_name IS NOT NULL
    GROUP BY model_name, model_version
),

-- Numbers may have gaps: versions are deleted.
numbered AS (
    SELECT
        *,
        ROW_NUMBER() OVER (PARTITION BY name ORDER BY version DESC) - 1 AS n_newer
    FROM model_versions
)

SELECT
    labels.name,
    labels.label_type,
    labels.label,
    labels.version,
    labels.since,
    CAST(DATE_DIFF('microsecond', labels.since, CAST($now AS TIMESTAMPTZ)) AS DOUBLE) / 86400000000 AS days_since,
    labels.actor,
    versions.created_at,
    CAST(DATE_DIFF('microsecond', versions.created_at, CAST($now AS TIMESTAMPTZ)) AS DOUBLE)
    / 86400000000 AS days_since_created,
    versions.run_id,
    runs.ended_at AS run_ended_at,
    scored.last_scored_at,
    versions.n_newer
FROM labels
INNER JOIN numbered AS versions ON labels.name = versions.name AND labels.version = versions.version
LEFT JOIN runs ON versions.run_id = runs.run_id
LEFT JOIN scored ON labels.name = scored.model_name AND labels.version = scored.model_version
WHERE CAST($models AS VARCHAR[]) IS NULL OR LIST_CONTAINS(CAST($models AS VARCHAR[]), labels.name)
ORDER BY labels.name, labels.label_type, labels.label, labels.version
