-- purpose: The trials of sweeps beside what the parameters `metric` and `direction` mean.
-- grain: One trial of a sweep in the experiments of the parameter `experiments`.
-- depends: sweep_runs, goal_progress
-- column *: As in `sweep_runs`.
-- column value: Its best value over all its points; null when it has no finite one.
-- column badness: The same, negated where higher is better: the least is the best.

SELECT
    sweep_runs.*,
    reached.value,
    CASE WHEN $direction = 'min' THEN reached.value ELSE -reached.value END AS badness
FROM sweep_runs
LEFT JOIN (
    SELECT
        run_id,
        value
    FROM goal_progress
    WHERE series = $metric AND direction = $direction
) AS reached ON sweep_runs.run_id = reached.run_id
WHERE
    CAST($experiments AS VARCHAR[]) IS NULL
    OR LIST_CONTAINS(CAST($experiments AS VARCHAR[]), sweep_runs.experiment_id)
