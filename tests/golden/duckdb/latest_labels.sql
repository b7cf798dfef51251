WITH folded AS (
  SELECT
    dataset,
    row_key,
    output,
    ARG_MAX(
      {'value': value, 'text': text, 'actor': actor, 'event_at': event_at},
      {'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq}
    ) AS last_label
  FROM labels
  GROUP BY
    dataset,
    row_key,
    output
)
SELECT
  dataset,
  row_key,
  output,
  last_label.value AS value,
  last_label.text AS text,
  last_label.actor AS actor,
  last_label.event_at AS labelled_at
FROM folded
WHERE
  NOT last_label.value IS NULL OR NOT last_label.text IS NULL
