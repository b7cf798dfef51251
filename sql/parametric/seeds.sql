-- purpose: Runs that differ in their seeds only, taken together: mean, spread and how sure the mean is.
-- grain: One configuration of an experiment: a set of params, those that are seeds left out.
-- depends: chosen_runs, params, measured
-- parameter metric metric: The metric: its key, or key, a space and the context.
-- parameter stat last|first|min|max|mean = last: Which value of each run counts: the latest point's, or one over all its points.
-- parameter seed_params texts = seed, random_seed, random_state: Params in which runs of one configuration may differ.
-- parameter outcomes texts = finished: Only runs with these outcomes, as in `project_runs`.
-- parameter experiments experiments = all: Only these experiments.
-- column experiment_id: The experiment.
-- column experiment_name: Its name.
-- column config: The params other than seeds, as `key=value` in order of keys, with commas between them.
-- column n_runs: Runs of this configuration.
-- column n: How many of them have a finite value; the statistics are over these.
-- column n_not_finite: How many have NaN or an infinity; the rest doesn't have the metric, or no number in it.
-- column mean: The mean; null without a value.
-- column std: The sample's standard deviation, with n - 1; null for fewer than two values.
-- column lower: Lower end of the 95 % interval of the mean, mean - t * std / sqrt(n), with t the 97.5 % quantile of Student's t with n - 1 degrees of freedom (Student 1908, "The probable error of a mean"); null for fewer than two values.
-- column upper: Its upper end.
-- column min: The smallest value.
-- column max: The largest value.

WITH scoped AS (
    SELECT
        run_id,
        experiment_id,
        experiment_name
    FROM chosen_runs
    WHERE LIST_CONTAINS(CAST($outcomes AS VARCHAR[]), outcome)
),

-- The experiment is an entry too: so a run without params has one.
entries AS (
    SELECT
        run_id,
        '' AS key,
        experiment_id AS value
    FROM scoped
    UNION ALL
    SELECT
        params.run_id,
        params.key,
        params.value
    FROM params
    INNER JOIN scoped ON params.run_id = scoped.run_id
    WHERE NOT LIST_CONTAINS(CAST($seed_params AS VARCHAR[]), params.key)
),

configured AS (
    SELECT
        run_id,
        LIST_SORT(ARRAY_AGG({'key': key, 'value': value})) AS params,
        COALESCE(
            ARRAY_TO_STRING(LIST_SORT(ARRAY_AGG(key || '=' || value) FILTER (WHERE key <> '')), ', '), ''
        ) AS config
    FROM entries
    GROUP BY run_id
),

valued AS (
    SELECT
        scoped.experiment_id,
        scoped.experiment_name,
        configured.params,
        configured.config,
        CASE WHEN ABS(measured.value) < CAST('Infinity' AS DOUBLE) THEN measured.value END AS value,
        measured.value IS NOT NULL AND NOT ABS(measured.value) < CAST('Infinity' AS DOUBLE) AS is_not_finite
    FROM scoped
    INNER JOIN configured ON scoped.run_id = configured.run_id
    LEFT JOIN measured ON scoped.run_id = measured.run_id
),

-- The sum of squares is that of deviations from the mean: both engines then agree, and large values don't cancel out.
centred AS (
    SELECT
        *,
        AVG(value) OVER (PARTITION BY params) AS mean
    FROM valued
),

folded AS (
    SELECT
        experiment_id,
        experiment_name,
        params,
        config,
        COUNT(*) AS n_runs,
        COUNT(value) AS n,
        COUNT(CASE WHEN is_not_finite THEN 1 END) AS n_not_finite,
        MAX(mean) AS mean,
        CASE
            WHEN COUNT(value) > 1 THEN SQRT(SUM((value - mean) * (value - mean)) / (COUNT(value) - 1))
        END AS std,
        MIN(value) AS min,
        MAX(value) AS max
    FROM centred
    GROUP BY experiment_id, experiment_name, params, config
),

-- Up to 30 degrees of freedom from the table; beyond it the expansion around the normal quantile z (Abramowitz and
-- Stegun 1964, 26.7.5), which is off by less than 3e-8 there.
expanded AS (
    SELECT
        *,
        CAST(NULLIF(n - 1, 0) AS DOUBLE) AS freedom,
        CAST(1.959963984540054 AS DOUBLE) AS z
    FROM folded
),

quantiles AS (
    SELECT
        *,
        CASE freedom
            WHEN 1 THEN CAST(12.706204736174694 AS DOUBLE)
            WHEN 2 THEN CAST(4.302652729749462 AS DOUBLE)
            WHEN 3 THEN CAST(3.1824463052837078 AS DOUBLE)
            WHEN 4 THEN CAST(2.7764451051977934 AS DOUBLE)
            WHEN 5 THEN CAST(2.5705818356363146 AS DOUBLE)
            WHEN 6 THEN CAST(2.4469118511449786 AS DOUBLE)
            WHEN 7 THEN CAST(2.364624251592784 AS DOUBLE)
            WHEN 8 THEN CAST(2.306004135204166 AS DOUBLE)
            WHEN 9 THEN CAST(2.262157162798205 AS DOUBLE)
            WHEN 10 THEN CAST(2.228138851986274 AS DOUBLE)
            WHEN 11 THEN CAST(2.200985160091639 AS DOUBLE)
            WHEN 12 THEN CAST(2.1788128296672284 AS DOUBLE)
            WHEN 13 THEN CAST(2.1603686564627913 AS DOUBLE)
            WHEN 14 THEN CAST(2.144786687917804 AS DOUBLE)
            WHEN 15 THEN CAST(2.131449545559776 AS DOUBLE)
            WHEN 16 THEN CAST(2.1199052992212546 AS DOUBLE)
            WHEN 17 THEN CAST(2.1098155778333156 AS DOUBLE)
            WHEN 18 THEN CAST(2.1009220402410382 AS DOUBLE)
            WHEN 19 THEN CAST(2.0930240544083087 AS DOUBLE)
            WHEN 20 THEN CAST(2.085963447265864 AS DOUBLE)
            WHEN 21 THEN CAST(2.0796138447276795 AS DOUBLE)
            WHEN 22 THEN CAST(2.0738730679040254 AS DOUBLE)
            WHEN 23 THEN CAST(2.0686576104190486 AS DOUBLE)
            WHEN 24 THEN CAST(2.0638985616280245 AS DOUBLE)
            WHEN 25 THEN CAST(2.0595385527532972 AS DOUBLE)
            WHEN 26 THEN CAST(2.0555294386428735 AS DOUBLE)
            WHEN 27 THEN CAST(2.0518305164802846 AS DOUBLE)
            WHEN 28 THEN CAST(2.0484071417952454 AS DOUBLE)
            WHEN 29 THEN CAST(2.045229642132703 AS DOUBLE)
            WHEN 30 THEN CAST(2.0422724563012378 AS DOUBLE)
            ELSE
                z
                + z * (z * z + 1) / (4 * freedom)
                + z * (5 * z * z * z * z + 16 * z * z + 3) / (96 * freedom * freedom)
                + z * (3 * z * z * z * z * z * z + 19 * z * z * z * z + 17 * z * z - 15)
                / (384 * freedom * freedom * freedom)
                + z
                * (
                    79 * z * z * z * z * z * z * z * z + 776 * z * z * z * z * z * z + 1482 * z * z * z * z
                    - 1920 * z * z - 945
                )
                / (92160 * freedom * freedom * freedom * freedom)
        END AS t
    FROM expanded
)

SELECT
    experiment_id,
    experiment_name,
    config,
    n_runs,
    n,
    n_not_finite,
    mean,
    std,
    mean - t * std / SQRT(n) AS lower,
    mean + t * std / SQRT(n) AS upper,
    min,
    max
FROM quantiles
ORDER BY experiment_name, mean, config
