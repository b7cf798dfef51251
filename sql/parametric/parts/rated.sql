-- purpose: The predictions that the parameters `models`, `datasets` and `window` mean, each in its window.
-- grain: One output of one version of a model for one row of a dataset, as it was scored last.
-- depends: labelled_predictions
-- column *: As in `labelled_predictions`.
-- column window_start: The start of the window that `event_at` is in, UTC; null for one window of all.

SELECT
    *,
    CASE
        $window
        WHEN 'hour' THEN DATE_TRUNC('hour', event_at)
        WHEN 'day' THEN DATE_TRUNC('day', event_at)
        WHEN 'week' THEN DATE_TRUNC('week', event_at)
        WHEN 'month' THEN DATE_TRUNC('month', event_at)
    END AS window_start
FROM labelled_predictions
WHERE
    (CAST($models AS VARCHAR[]) IS NULL OR LIST_CONTAINS(CAST($models AS VARCHAR[]), model_name))
    AND (CAST($datasets AS VARCHAR[]) IS NULL OR LIST_CONTAINS(CAST($datasets AS VARCHAR[]), dataset))
