-- purpose: For which rows models are off: errors by slices of the inputs that were kept.
-- grain: One slice of a feature, of a version of a model, dataset and output: a value of text, or a range of numbers.
-- depends: classified, prediction_inputs
-- parameter features features = all: Only these features.
-- parameter slices count = 5: Into how many ranges numbers are cut, with as many rows each as ties allow.
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
-- column feature: The input column.
-- column slice_text: The slice's value where the feature is text; null where it is numbers, or the value is missing.
-- column slice_from: The smallest number in the slice; null where the feature is text, or the value is missing.
-- column slice_to: The largest one.
-- column n: Predictions in the slice whose truth is known.
-- column share: Of all such predictions that have this feature kept.
-- column error_rate: The share of those that are classes whose class is wrong; numbers are taken as the nearest whole one.
-- column mae: Mean absolute error, where both are finite numbers.
-- column bias: Mean error, prediction less truth, likewise.

WITH kept AS (
    SELECT
        writer_id,
        writer_seq,
        dataset,
        row_key,
        feature,
        text,
        -- Adding zero makes 0 of -0, which are equal and would be ranked apart.
        CASE WHEN NOT ISNAN(value) THEN value + 0.0 END AS number
    FROM prediction_inputs
    WHERE CAST($features AS VARCHAR[]) IS NULL OR LIST_CONTAINS(CAST($features AS VARCHAR[]), feature)
),

joined AS (
    SELECT
        classified.model_name,
        classified.model_version,
        classified.model_digest,
        classified.dataset,
        classified.output,
        classified.window_start,
        kept.feature,
        kept.text,
        kept.number,
        CASE
            WHEN classified.predicted = classified.actual THEN 0
            WHEN classified.predicted <> classified.actual THEN 1
        END AS is_wrong,
        CASE
            WHEN
                ABS(classified.value) < CAST('Infinity' AS DOUBLE)
                AND ABS(classified.label_value) < CAST('Infinity' AS DOUBLE)
                THEN classified.value - classified.label_value
        END AS error
    FROM classified
    INNER JOIN kept
        ON
            classified.writer_id = kept.writer_id
            AND classified.writer_seq = kept.writer_seq
            AND classified.dataset = kept.dataset
            AND classified.row_key = kept.row_key
),

ranked AS (
    SELECT
        *,
        RANK() OVER (
            PARTITION BY
                model_name, model_version, model_digest, dataset, output, window_start, feature, number IS NULL
            ORDER BY number
        ) AS place,
        COUNT(number) OVER (
            PARTITION BY model_name, model_version, model_digest, dataset, output, window_start, feature
        ) AS n_numbers,
        COUNT(*) OVER (
            PARTITION BY model_name, model_version, model_digest, dataset, output, window_start, feature
        ) AS n_all
    FROM joined
),

sliced AS (
    SELECT
        *,
        CASE WHEN number IS NOT NULL THEN FLOOR((place - 1) * CAST($slices AS DOUBLE) / n_numbers) END AS slice
    FROM ranked
)

SELECT
    model_name,
    model_version,
    model_digest,
    dataset,
    output,
    window_start,
    feature,
    text AS slice_text,
    MIN(number) AS slice_from,
    MAX(number) AS slice_to,
    COUNT(*) AS n,
    COUNT(*) / CAST(MAX(n_all) AS DOUBLE) AS share,
    AVG(is_wrong) AS error_rate,
    AVG(ABS(error)) AS mae,
    AVG(error) AS bias
FROM sliced
GROUP BY
    model_name, model_version, model_digest, dataset, output, window_start, feature, text, slice
ORDER BY
    model_name, model_version, model_digest, dataset, output, window_start, feature, slice_text, slice_from
