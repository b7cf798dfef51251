WITH folded AS (
  SELECT
    dataset,
    row_key,
    output,
    MAX_BY(
      STRUCT(value AS value, text AS text, actor AS actor, event_at AS event_at),
      STRUCT(recorded_at AS recorded_at, writer_id AS writer_id, writer_seq AS writer_seq)
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
