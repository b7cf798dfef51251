-- purpose: Each run's params beside its value of a metric: what fANOVA and other importance measures start from.
-- grain: One param of a run that has a finite value of the metric.
-- depends: valued_params
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
    run_id,
    experiment_name,
    param,
    param_text,
    param_number,
    value
FROM valued_params
ORDER BY run_id, param
