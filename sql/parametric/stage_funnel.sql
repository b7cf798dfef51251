-- purpose: How far versions of registered models come: how many reach each stage, and how long it takes them.
-- grain: One stage of a registered model that at least one of its versions has been in.
-- depends: model_versions, live_registry_events
-- parameter models texts = all: Only these registered models.
-- column name: The registered model.
-- column stage: The stage; `None` is where each version begins.
-- column n_now: Versions that are in it now.
-- column n_ever: Versions that have ever been in it; deleted versions aren't counted.
-- column share_ever: The same among all versions of the model, 0 to 1.
-- column days_to_reach: The median of the days from a version's creation until it first came to the stage; 0 for `None`.
-- column last_reached_at: When a version last came to it for the first time.

WITH versions AS (
    SELECT
        name,
        version,
        stage,
        created_at
    FROM model_versions
    WHERE CAST($models AS VARCHAR[]) IS NULL OR LIST_CONTAINS(CAST($models AS VARCHAR[]), name)
),

moves AS (
    SELECT
        events.name,
        events.version,
        events.stage,
        MIN(events.event_at) AS reached_at
    FROM live_registry_events AS events
    WHERE events.kind = 'stage_set' AND events.stage IS NOT NULL AND events.stage <> 'None'
    GROUP BY events.name, events.version, events.stage
),

reached AS (
    SELECT
        name,
        version,
        'None' AS stage,
        created_at AS reached_at,
        stage = 'None' AS is_there,
        CAST(0 AS DOUBLE) AS days
    FROM versions
    UNION ALL
    SELECT
        versions.name,
        versions.version,
        moves.stage,
        moves.reached_at,
        versions.stage = moves.stage AS is_there,
        CAST(DATE_DIFF('microsecond', versions.created_at, moves.reached_at) AS DOUBLE) / 86400000000 AS days
    FROM versions
    INNER JOIN moves ON versions.name = moves.name AND versions.version = moves.version
),

placed AS (
    SELECT
        *,
        ROW_NUMBER() OVER (PARTITION BY name, stage ORDER BY days, version) AS place,
        COUNT(*) OVER (PARTITION BY name, stage) AS n_ever
    FROM reached
),

totals AS (
    SELECT
        name,
        COUNT(*) AS n_versions
    FROM versions
    GROUP BY name
)

SELECT
    placed.name,
    placed.stage,
    COUNT(CASE WHEN placed.is_there THEN 1 END) AS n_now,
    COUNT(*) AS n_ever,
    CAST(COUNT(*) AS DOUBLE) / MAX(totals.n_versions) AS share_ever,
    AVG(CASE WHEN ABS(2 * placed.place - placed.n_ever - 1) <= 1 THEN placed.days END) AS days_to_reach,
    MAX(placed.reached_at) AS last_reached_at
FROM placed
INNER JOIN totals ON placed.name = totals.name
GROUP BY placed.name, placed.stage
ORDER BY
    placed.name,
    CASE placed.stage
        WHEN 'None' THEN 0
        WHEN 'Development' THEN 1
        WHEN 'Staging' THEN 2
        WHEN 'Production' THEN 3
        ELSE 4
    END
