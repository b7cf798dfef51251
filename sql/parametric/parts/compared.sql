-- purpose: Values of inputs and outputs in windows, beside those that the parameter `reference` means.
-- grain: One value of one scored row, of a window or of a reference.
-- depends: predictions, prediction_inputs
-- column model_name: The registered model, or null.
-- column model_version: Its version, or null.
-- column model_digest: The model package's digest.
-- column reference_of: The dataset whose reference it is compared with; empty where all have the same.
-- column dataset: The dataset.
-- column kind: `input` or `output`.
-- column feature: The input column, or the output.
-- column window_start: The window that it is in, or null for one of all.
-- column is_reference: Whether the value is of the reference, or of a window that is compared.
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
)

SELECT
    model_name,
    model_version,
    model_digest,
    CASE WHEN CAST($reference AS VARCHAR) IS NULL THEN dataset ELSE '' END AS reference_of,
    dataset,
    kind,
    feature,
    window_start,
    is_reference,
    number,
    text
FROM placed
