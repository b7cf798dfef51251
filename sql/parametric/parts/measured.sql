-- purpose: What the parameters `metric` and `stat` mean for each run.
-- grain: One run that has the metric.
-- depends: metric_summaries
-- column run_id: The run.
-- column value: The value of the metric that counts; NaN or an infinity where that is so, null where it has no number.

SELECT
    run_id,
    CASE
        $stat
        WHEN 'last' THEN last
        WHEN 'first' THEN first
        WHEN 'min' THEN min
        WHEN 'max' THEN max
        ELSE mean
    END AS value
FROM metric_summaries
WHERE series = $metric
