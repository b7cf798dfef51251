-- purpose: The params beside what the parameters `metric`, `stat` and `outcomes` mean.
-- grain: One param of a run that has a finite value of the metric.
-- depends: chosen_runs, measured, params
-- column run_id: The run.
-- column experiment_name: Its experiment.
-- column param: The param's name.
-- column param_text: Its value as text.
-- column param_number: The same as a number, where the text is one.
-- column value: The run's value of the metric.

SELECT
    chosen_runs.run_id,
    chosen_runs.experiment_name,
    params.key AS param,
    params.value AS param_text,
    params.value_number AS param_number,
    measured.value
FROM chosen_runs
INNER JOIN measured ON chosen_runs.run_id = measured.run_id
INNER JOIN params ON chosen_runs.run_id = params.run_id
WHERE
    ABS(measured.value) < CAST('Infinity' AS DOUBLE)
    AND LIST_CONTAINS(CAST($outcomes AS VARCHAR[]), chosen_runs.outcome)
