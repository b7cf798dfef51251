-- purpose: What models said about rows, beside the truth where it is known.
-- grain: One output of one version of a model for one row of a dataset, as it was scored last.
-- depends: predictions, latest_labels
-- column dataset: The dataset.
-- column row_key: The row's key.
-- column output: The model's output.
-- column model_name: The registered model, or null.
-- column model_version: Its version, or null.
-- column model_digest: The model package's digest.
-- column value: The prediction as a number, where it is one.
-- column text: The prediction as text, where it isn't a number.
-- column label_value: The truth as a number, where it is known and is one.
-- column label_text: The truth as text, where it is known and isn't a number.
-- column is_labelled: Whether the truth is known.
-- column event_at: When the row happened, or was scored.
-- column labelled_at: When the truth was told; null where it isn't known.
-- column latency_us: Microseconds that the model took for the row, or null.
-- column writer_id: The scoring; with `writer_seq` it names the row's values in `prediction_inputs`.
-- column writer_seq: The row's number in it.

WITH folded AS (
    SELECT
        dataset,
        row_key,
        output,
        model_name,
        model_version,
        model_digest,
        ARG_MAX(
            {
                'value': value,
                'text': text,
                'event_at': event_at,
                'latency_us': latency_us,
                'writer_id': writer_id,
                'writer_seq': writer_seq
            },
            {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq}
        ) AS last_scored
    FROM predictions
    GROUP BY dataset, row_key, output, model_name, model_version, model_digest
)

SELECT
    folded.dataset,
    folded.row_key,
    folded.output,
    folded.model_name,
    folded.model_version,
    folded.model_digest,
    folded.last_scored.value AS value,
    folded.last_scored.text AS text,
    latest_labels.value AS label_value,
    latest_labels.text AS label_text,
    latest_labels.row_key IS NOT NULL AS is_labelled,
    folded.last_scored.event_at AS event_at,
    latest_labels.labelled_at,
    folded.last_scored.latency_us AS latency_us,
    folded.last_scored.writer_id AS writer_id,
    folded.last_scored.writer_seq AS writer_seq
FROM folded
LEFT JOIN latest_labels
    ON
        folded.dataset = latest_labels.dataset
        AND folded.row_key = latest_labels.row_key
        AND folded.output = latest_labels.output
