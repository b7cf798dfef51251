-- purpose: Which params go with a metric: the rank correlation of each with it, over runs.
-- grain: One param of at least one run that has a finite value of the metric.
-- depends: valued_params
-- parameter metric metric: The metric: its key, or key, a space and the context.
-- parameter stat last|first|min|max|mean = last: Which value of each run counts: the latest point's, or one over all its points.
-- parameter outcomes texts = finished: Only runs with these outcomes, as in `project_runs`.
-- parameter experiments experiments = all: Only these experiments.
-- column param: The param's name.
-- column n_runs: Runs with the param and a finite value of the metric.
-- column n_values: Different values of the param among them, as text.
-- column n: How many of these runs have a finite number as the param; the correlation is over these.
-- column spearman: Spearman's rank correlation of the param with the metric, ties with their mean rank (Spearman 1904, "The proof and measurement of association between two things"); null when either doesn't vary.

WITH pairs AS (
    SELECT
        param,
        param_text,
        -- Adding zero makes 0 of -0, which are equal and would be ranked apart.
        CASE WHEN ABS(param_number) < CAST('Infinity' AS DOUBLE) THEN param_number + 0.0 END AS x,
        value + 0.0 AS y
    FROM valued_params
),

-- Ranks counted from their mean, so that their sums are 0 and the correlation is a sum of products.
ranked AS (
    SELECT
        param,
        RANK() OVER (PARTITION BY param ORDER BY x)
        + (COUNT(*) OVER (PARTITION BY param, x) - 1) / CAST(2 AS DOUBLE)
        - (COUNT(*) OVER (PARTITION BY param) + 1) / CAST(2 AS DOUBLE) AS x_rank,
        RANK() OVER (PARTITION BY param ORDER BY y)
        + (COUNT(*) OVER (PARTITION BY param, y) - 1) / CAST(2 AS DOUBLE)
        - (COUNT(*) OVER (PARTITION BY param) + 1) / CAST(2 AS DOUBLE) AS y_rank
    FROM pairs
    WHERE x IS NOT NULL
),

correlated AS (
    SELECT
        param,
        COUNT(*) AS n,
        SUM(x_rank * y_rank) / NULLIF(SQRT(SUM(x_rank * x_rank)) * SQRT(SUM(y_rank * y_rank)), 0) AS spearman
    FROM ranked
    GROUP BY param
),

counted AS (
    SELECT
        param,
        COUNT(*) AS n_runs,
        COUNT(DISTINCT param_text) AS n_values
    FROM pairs
    GROUP BY param
)

SELECT
    counted.param,
    counted.n_runs,
    counted.n_values,
    COALESCE(correlated.n, 0) AS n,
    correlated.spearman
FROM counted
LEFT JOIN correlated ON counted.param = correlated.param
ORDER BY COALESCE(ABS(correlated.spearman), -1) DESC, counted.param
