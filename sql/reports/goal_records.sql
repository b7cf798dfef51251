-- purpose: The runs that set a record in their experiment, for each series and direction.
-- grain: One run, series and direction whose value beat that of every earlier run of its experiment.
-- depends: goal_progress
-- column series: The metric's name, with its context where it has one.
-- column direction: `min` where lower is better, `max` where higher is.
-- column experiment_id: The experiment.
-- column experiment_name: Its name.
-- column run_id: The run.
-- column run_name: Its name.
-- column user_id: Who ran it, or null.
-- column value: The record.
-- column step: The step that set it.
-- column reached_at: When the run reached it; ties in time are ordered by run id.
-- column beaten: The record before, or null for the first run.

WITH ordered AS (
    SELECT
        series,
        direction,
        experiment_id,
        experiment_name,
        run_id,
        run_name,
        user_id,
        value,
        step,
        reached_at,
        MIN(CASE WHEN direction = 'min' THEN value END) OVER (
            PARTITION BY series, direction, experiment_id
            ORDER BY reached_at, run_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS lowest_before,
        MAX(CASE WHEN direction = 'max' THEN value END) OVER (
            PARTITION BY series, direction, experiment_id
            ORDER BY reached_at, run_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS highest_before
    FROM goal_progress
),

compared AS (
    SELECT
        series,
        direction,
        experiment_id,
        experiment_name,
        run_id,
        run_name,
        user_id,
        value,
        step,
        reached_at,
        CASE WHEN direction = 'min' THEN lowest_before ELSE highest_before END AS beaten
    FROM ordered
)

SELECT
    series,
    direction,
    experiment_id,
    experiment_name,
    run_id,
    run_name,
    user_id,
    value,
    step,
    reached_at,
    beaten
FROM compared
WHERE beaten IS NULL
      OR (direction = 'min' AND value < beaten)
      OR (direction = 'max' AND value > beaten)
