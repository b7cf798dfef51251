-- purpose: How far models that predict numbers are off, where the truth is known.
-- grain: One version of a model, dataset and output in one window.
-- depends: rated
-- parameter window all|hour|day|week|month = all: How long a window is, by `event_at`, UTC; `all` makes one of all.
-- parameter models scoring_models = all: Only these registered models.
-- parameter datasets datasets = all: Only these datasets.
-- column model_name: The registered model, or null.
-- column model_version: Its version, or null.
-- column model_digest: The model package's digest.
-- column dataset: The dataset.
-- column output: The model's output.
-- column window_start: The start of the window, or null.
-- column n: Predictions.
-- column n_labelled: How many of them are finite numbers whose truth is one; the errors are over these.
-- column coverage: n_labelled by n.
-- column mae: Mean absolute error.
-- column rmse: Root of the mean squared error.
-- column bias: Mean error, prediction less truth.
-- column r2: Coefficient of determination, 1 less the squared errors by the squared deviations of the truth from its mean (Wright 1921, "Correlation and causation"); null where the truth doesn't vary.
-- column latency_us: Mean microseconds that the model took for a row, or null.

WITH paired AS (
    SELECT
        model_name,
        model_version,
        model_digest,
        dataset,
        output,
        window_start,
        latency_us,
        CASE
            WHEN
                ABS(value) < CAST('Infinity' AS DOUBLE) AND ABS(label_value) < CAST('Infinity' AS DOUBLE)
                THEN value - label_value
        END AS error,
        CASE
            WHEN
                ABS(value) < CAST('Infinity' AS DOUBLE) AND ABS(label_value) < CAST('Infinity' AS DOUBLE)
                THEN label_value
        END AS truth
    FROM rated
    WHERE text IS NULL AND label_text IS NULL
),

centred AS (
    SELECT
        *,
        AVG(truth) OVER (
            PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
        ) AS mean
    FROM paired
)

SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    output,
    window_start,
    COUNT(*) AS n,
    COUNT(error) AS n_labelled,
    COUNT(error) / CAST(COUNT(*) AS DOUBLE) AS coverage,
    AVG(ABS(error)) AS mae,
    SQRT(AVG(error * error)) AS rmse,
    AVG(error) AS bias,
    1 - SUM(error * error) / NULLIF(SUM((truth - mean) * (truth - mean)), 0) AS r2,
    AVG(latency_us) AS latency_us
FROM centred
GROUP BY model_name, model_version, model_digest, dataset, output, window_start
ORDER BY model_name, model_version, model_digest, dataset, output, window_start
