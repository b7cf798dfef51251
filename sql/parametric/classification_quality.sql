-- purpose: How often models that predict classes are right, in all and by class, where the truth is known.
-- grain: One class that was predicted or true, of a version of a model, dataset and output in one window.
-- depends: classified
-- parameter threshold number = none: From this number on a prediction means class 1, below it class 0; without it numbers are classes themselves.
-- parameter window all|hour|day|week|month = all: How long a window is, by `event_at`, UTC; `all` makes one of all.
-- parameter models scoring_models = all: Only these registered models.
-- parameter datasets datasets = all: Only these datasets.
-- column model_name: The registered model, or null.
-- column model_version: Its version, or null.
-- column model_digest: The model package's digest.
-- column dataset: The dataset.
-- column output: The model's output.
-- column window_start: The start of the window, or null.
-- column class: The class: text, or a whole number as text.
-- column n_labelled: Predictions of the window whose truth is known, of all classes.
-- column n_actual: How many of them are of this class.
-- column n_predicted: How many are predicted to be.
-- column n_right: How many are both.
-- column precision: n_right by n_predicted; null where that is 0.
-- column recall: n_right by n_actual; null where that is 0.
-- column f1: 2 n_right by n_actual and n_predicted together (van Rijsbergen 1979, "Information Retrieval").
-- column accuracy: The share of the window's predictions that are right, of all classes.
-- column macro_f1: The mean of f1 over the window's classes.

WITH counted AS (
    SELECT
        model_name,
        model_version,
        model_digest,
        dataset,
        output,
        window_start,
        predicted,
        actual,
        COUNT(*) AS n
    FROM classified
    WHERE predicted IS NOT NULL AND actual IS NOT NULL
    GROUP BY model_name, model_version, model_digest, dataset, output, window_start, predicted, actual
),

sides AS (
    SELECT
        model_name,
        model_version,
        model_digest,
        dataset,
        output,
        window_start,
        predicted AS class,
        n AS n_predicted,
        0 AS n_actual,
        CASE WHEN predicted = actual THEN n ELSE 0 END AS n_right
    FROM counted
    UNION ALL
    SELECT
        model_name,
        model_version,
        model_digest,
        dataset,
        output,
        window_start,
        actual AS class,
        0 AS n_predicted,
        n AS n_actual,
        0 AS n_right
    FROM counted
),

folded AS (
    SELECT
        model_name,
        model_version,
        model_digest,
        dataset,
        output,
        window_start,
        class,
        SUM(n_actual) AS n_actual,
        SUM(n_predicted) AS n_predicted,
        SUM(n_right) AS n_right,
        2 * SUM(n_right) / CAST(SUM(n_actual) + SUM(n_predicted) AS DOUBLE) AS f1
    FROM sides
    GROUP BY model_name, model_version, model_digest, dataset, output, window_start, class
),

totals AS (
    SELECT
        *,
        SUM(n_actual) OVER (
            PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
        ) AS n_labelled,
        SUM(n_right) OVER (
            PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
        ) AS n_all_right,
        AVG(f1) OVER (
            PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
        ) AS macro_f1
    FROM folded
)

SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    output,
    window_start,
    class,
    n_labelled,
    n_actual,
    n_predicted,
    n_right,
    n_right / CAST(NULLIF(n_predicted, 0) AS DOUBLE) AS precision,
    n_right / CAST(NULLIF(n_actual, 0) AS DOUBLE) AS recall,
    f1,
    n_all_right / CAST(n_labelled AS DOUBLE) AS accuracy,
    macro_f1
FROM totals
ORDER BY model_name, model_version, model_digest, dataset, output, window_start, class
