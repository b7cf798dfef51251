WITH folded AS (
  SELECT
    dataset,
    row_key,
    output,
    model_name,
    model_version,
    model_digest,
    ARG_MAX(
      {'value': value, 'text': text, 'event_at': event_at, 'latency_us': latency_us, 'writer_id': writer_id, 'writer_seq': writer_seq},
      {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq}
    ) AS last_scored
  FROM predictions
  GROUP BY
    dataset,
    row_key,
    output,
    model_name,
    model_version,
    model_digest
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
  NOT latest_labels.row_key IS NULL AS is_labelled,
  folded.last_scored.event_at AS event_at,
  latest_labels.labelled_at,
  folded.last_scored.latency_us AS latency_us,
  folded.last_scored.writer_id AS writer_id,
  folded.last_scored.writer_seq AS writer_seq
FROM folded
LEFT JOIN latest_labels
  ON folded.dataset = latest_labels.dataset
  AND folded.row_key = latest_labels.row_key
  AND folded.output = latest_labels.output
