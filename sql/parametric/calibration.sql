-- purpose: Whether probabilities that models predict mean what they say: how often what had a probability came true.
-- grain: One bin of probabilities of a version of a model, dataset and output in one window.
-- depends: rated
-- parameter bins count = 10: How many bins of equal width there are between 0 and 1.
-- parameter window all|hour|day|week|month = all: How long a window is, by `event_at`, UTC; `all` makes one of all.
-- parameter models scoring_models = all: Only these registered models.
-- parameter datasets datasets = all: Only these datasets.
-- column model_name: The registered model, or null.
-- column model_version: Its version, or null.
-- column model_digest: The model package's digest.
-- column dataset: The dataset.
-- column output: The model's output.
-- column window_start: The start of the window, or null.
-- column bin: The bin's number, from 1 on; it holds the probabilities above its lower end, up to its upper end.
-- column lower: Its lower end.
-- column upper: Its upper end.
-- column n: Probabilities in it whose truth is known to be 0 or 1.
-- column mean_predicted: Their mean.
-- column observed: The share of them that came true.
-- column gap: observed less mean_predicted: above 0 where the model says too little.
-- column ece: Expected calibration error of the window, the mean of absolute gaps weighted by n (Guo et al. 2017, "On calibration of modern neural networks").
-- column brier: Mean squared difference of probability and truth over the window (Brier 1950, "Verification of forecasts expressed in terms of probability").

WITH paired AS (
    SELECT
        model_name,
        model_version,
        model_digest,
        dataset,
        output,
        window_start,
        value,
        label_value,
        GREATEST(CEIL(value * CAST($bins AS DOUBLE)), 1) AS bin
    FROM rated
    WHERE value BETWEEN 0 AND 1 AND label_value IN (0, 1)
),

folded AS (
    SELECT
        model_name,
        model_version,
        model_digest,
        dataset,
        output,
        window_start,
        CAST(bin AS BIGINT) AS bin,
        COUNT(*) AS n,
        AVG(value) AS mean_predicted,
        AVG(label_value) AS observed,
        SUM((value - label_value) * (value - label_value)) AS squares
    FROM paired
    GROUP BY model_name, model_version, model_digest, dataset, output, window_start, CAST(bin AS BIGINT)
)

SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    output,
    window_start,
    bin,
    (bin - 1) / CAST($bins AS DOUBLE) AS lower,
    bin / CAST($bins AS DOUBLE) AS upper,
    n,
    mean_predicted,
    observed,
    observed - mean_predicted AS gap,
    SUM(n * ABS(observed - mean_predicted)) OVER (
        PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
    ) / SUM(n) OVER (
        PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
    ) AS ece,
    SUM(squares) OVER (
        PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
    ) / SUM(n) OVER (
        PARTITION BY model_name, model_version, model_digest, dataset, output, window_start
    ) AS brier
FROM folded
ORDER BY model_name, model_version, model_digest, dataset, output, window_start, bin
