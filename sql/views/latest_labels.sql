-- purpose: The truth about rows as it is known now.
-- grain: One output of one row of a dataset, whose truth is known.
-- depends: labels
-- column dataset: The dataset.
-- column row_key: The row's key.
-- column output: The output that it is the truth for.
-- column value: The truth as a number, where it is one.
-- column text: The truth as text, where it isn't a number.
-- column actor: Who said so.
-- column labelled_at: When it was said.

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
    GROUP BY dataset, row_key, output
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
WHERE last_label.value IS NOT NULL OR last_label.text IS NOT NULL
