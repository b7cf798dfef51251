-- purpose: Each run's params beside its value of a metric: what fANOVA and other importance measures start from.
-- grain: One param of a run that has a finite value of the metric.
-- depends: project_runs, params, metric_summaries
-- parameter metric metric: The metric: its key, or key, a space and the context.
-- parameter stat last|first|min|max|mean = last: Which value of each run counts: the latest point's, or one over all its points.
-- parameter outcomes texts = finished: Only runs with these outcomes, as in `project_runs`.
-- parameter experiments experiments = all: Only these experiments.
-- column run_id: The run.
-- column experiment_name: Its experiment.
-- column param: The param's name.
-- column param_text: Its value as text.
-- column param_number: The same as a number, where the text is one.
-- column value: The run's value of the metric.

SELECT
    project_runs.run_id,
    project_runs.experiment_name,
    params.key AS param,
    params.value AS param_text,
    params.value_number AS param_number,
    measured.value
FROM project_runs
INNER JOIN (
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
) AS measured ON project_runs.run_id = measured.run_id
INNER JOIN params ON project_runs.run_id = params.run_id
WHERE
    ABS(measured.value) < CAST('Infinity' AS DOUBLE)
    AND LIST_CONTAINS(CAST($outcomes AS VARCHAR[]), project_runs.outcome)
    AND (
        CAST($experiments AS VARCHAR[]) IS NULL
        OR LIST_CONTAINS(CAST($experiments AS VARCHAR[]), project_runs.experiment_id)
    )
ORDER BY project_runs.run_id, params.key
