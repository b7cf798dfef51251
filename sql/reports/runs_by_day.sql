-- purpose: How much was run, by whom and with what outcome.
-- grain: One UTC day, experiment, user and outcome with at least one run.
-- depends: project_runs
-- column day: The start of the day the runs started on.
-- column experiment_id: The experiment.
-- column experiment_name: Its name.
-- column user_id: Who ran them, or null.
-- column outcome: As in `project_runs`.
-- column is_ended: As in `project_runs`.
-- column n_runs: Runs that started on this day.
-- column duration_s: Seconds they took together; runs whose duration isn't known count as 0.

SELECT
    day,
    experiment_id,
    experiment_name,
    user_id,
    outcome,
    is_ended,
    COUNT(*) AS n_runs,
    SUM(COALESCE(duration_s, 0.0)) AS duration_s
FROM project_runs
GROUP BY day, experiment_id, experiment_name, user_id, outcome, is_ended
