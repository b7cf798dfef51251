-- purpose: Values of inputs and outputs in windows, beside those that the parameter `reference` means.
-- grain: One value of one scored row, once as itself and once for each window that it is the reference of.
-- depends: predictions, prediction_inputs
-- column model_name: The registered model, or null.
-- column model_version: Its version, or null.
-- column model_digest: The model package's digest.
-- column dataset: The dataset that is compared.
-- column kind: `input` or `output`.
-- column feature: The input column, or the output.
-- column window_start: The window that is compared, or null for one of all.
-- column is_reference: Whether the value is of the reference, or of the window.
-- column number: The value as a number; null where it is missing, NaN, or text.
-- column text: The value as text, where it isn't a number.

WITH given AS (
    SELECT
        model_name,
        model_version,
        model_digest,
        dataset,
        'output' AS kind,
        output AS feature,
        value,
        text,
        event_at
    FROM predictions
    UNION ALL
    SELECT
        model_name,
        model_version,
        model_digest,
        dataset,
        'input' AS kind,
        feature,
        value,
        text,
        event_at
    FROM prediction_inputs
    -- Those of a scoring that was killed have no predictions.
    WHERE writer_id IN (SELECT predictions.writer_id FROM predictions)
),

chosen AS (
    SELECT
        model_name,
        model_version,
        model_digest,
        dataset,
        kind,
        feature,
        text,
        -- Adding zero makes 0 of -0, which are equal and would be ranked apart.
        CASE WHEN NOT ISNAN(value) THEN value + 0.0 END AS number,
        CASE
            $window
            WHEN 'hour' THEN DATE_TRUNC('hour', event_at)
            WHEN 'day' THEN DATE_TRUNC('day', event_at)
            WHEN 'week' THEN DATE_TRUNC('week', event_at)
            WHEN 'month' THEN DATE_TRUNC('month', event_at)
        END AS window_start
    FROM given
    WHERE
        (CAST($models AS VARCHAR[]) IS NULL OR LIST_CONTAINS(CAST($models AS VARCHAR[]), model_name))
        AND (CAST($features AS VARCHAR[]) IS NULL OR LIST_CONTAINS(CAST($features AS VARCHAR[]), feature))
        AND (
            CAST($datasets AS VARCHAR[]) IS NULL
            OR LIST_CONTAINS(CAST($datasets AS VARCHAR[]), dataset)
            OR dataset = CAST($reference AS VARCHAR)
        )
),

placed AS (
    SELECT
        *,
        CASE
            WHEN CAST($reference AS VARCHAR) IS NOT NULL THEN dataset = CAST($reference AS VARCHAR)
            ELSE
                window_start IS NOT NULL
                AND window_start = MIN(window_start) OVER (
                    PARTITION BY model_name, model_version, model_digest, dataset, kind, feature
                )
        END AS is_reference
    FROM chosen
),

windows AS (
    SELECT DISTINCT
        model_name,
        model_version,
        model_digest,
        dataset,
        kind,
        feature,
        window_start
    FROM placed
    WHERE NOT is_reference
)

SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    kind,
    feature,
    window_start,
    FALSE AS is_reference,
    number,
    text
FROM placed
WHERE NOT is_reference
UNION ALL
SELECT
    windows.model_name,
    windows.model_version,
    windows.model_digest,
    windows.dataset,
    windows.kind,
    windows.feature,
    windows.window_start,
    TRUE AS is_reference,
    placed.number,
    placed.text
FROM windows
INNER JOIN placed
    ON
        windows.model_digest = placed.model_digest
        AND windows.kind = placed.kind
        AND windows.feature = placed.feature
        AND COALESCE(windows.model_name, '') = COALESCE(placed.model_name, '')
        AND COALESCE(windows.model_version, 0) = COALESCE(placed.model_version, 0)
        AND (CAST($reference AS VARCHAR) IS NOT NULL OR windows.dataset = placed.dataset)
WHERE placed.is_reference
