-- purpose: The runs that a report looks at.
-- grain: One run in the experiments of the parameter `experiments`.
-- depends: project_runs
-- column *: As in `project_runs`.

SELECT *
FROM project_runs
WHERE CAST($experiments AS VARCHAR[]) IS NULL OR LIST_CONTAINS(CAST($experiments AS VARCHAR[]), experiment_id)
