-- purpose: Predictions of classes beside the true ones, as the parameter `threshold` means them.
-- grain: One output of one version of a model for one row of a dataset whose truth is known.
-- depends: rated
-- column *: As in `rated`.
-- column predicted: The class that was predicted, as text; null for a number that is none: NaN, or 1e15 and more.
-- column actual: The true class, likewise.

SELECT
    *,
    CASE
        WHEN text IS NOT NULL THEN text
        -- NaN would be above every threshold.
        WHEN ISNAN(value) THEN NULL
        WHEN CAST($threshold AS DOUBLE) IS NOT NULL
            THEN CASE WHEN value >= CAST($threshold AS DOUBLE) THEN '1' WHEN value IS NOT NULL THEN '0' END
        WHEN ABS(value) < 1e15 THEN CAST(CAST(FLOOR(value + 0.5) AS BIGINT) AS VARCHAR)
    END AS predicted,
    CASE
        WHEN label_text IS NOT NULL THEN label_text
        WHEN ABS(label_value) < 1e15 THEN CAST(CAST(FLOOR(label_value + 0.5) AS BIGINT) AS VARCHAR)
    END AS actual
FROM rated
WHERE is_labelled AND (value IS NOT NULL OR text IS NOT NULL)
