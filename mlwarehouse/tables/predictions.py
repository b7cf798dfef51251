"""Predictions of models, what they were computed from, and the truth that arrives later."""

from __future__ import annotations

from mlwarehouse.tables.spec import Column, TableSpec

PREDICTIONS = TableSpec(
    name="predictions",
    grain="One output value of one model version for one row of a scored table.",
    columns=(
        Column("model_name", "string", "The registered model, or null for a model scored straight from a run."),
        Column("model_version", "long", "Its version, or null."),
        Column("model_digest", "string", "Digest of the model package that computed it.", nullable=False),
        Column("run_id", "string", "The run that made the model."),
        Column("dataset", "string", "The name of what was scored; labels of the same name join to it.", nullable=False),
        Column("input_table", "string", "The table or query that was scored, where it has a name."),
        Column("input_version", "long", "The scored Delta table's version, where it is one."),
        Column("row_key", "string", "The scored row's key as text.", nullable=False),
        Column("output", "string", "The name of the model's output.", nullable=False),
        Column("value", "double", "The output as a number, where it is one."),
        Column("text", "string", "The output as text, where it isn't a number."),
        Column("latency_us", "double", "Microseconds that the model took for the row: its batch's, by rows; or null."),
    ),
    sort_by=("dataset", "model_name", "model_version", "row_key"),
    rules=(
        "Scoring the same rows again with the same source id adds no row; without one it adds rows with a later "
        "`recorded_at`.",
        "`event_at` is the time that the row itself has, where one was named, else that of the scoring.",
        "`writer_seq` is the number of the row among those that were scored together.",
    ),
)

PREDICTION_INPUTS = TableSpec(
    name="prediction_inputs",
    grain="One value that a model was given for one row of a scored table, of the columns that were to be kept.",
    columns=(
        Column("model_name", "string", "As in `predictions`."),
        Column("model_version", "long", "As in `predictions`."),
        Column("model_digest", "string", "As in `predictions`.", nullable=False),
        Column("run_id", "string", "As in `predictions`."),
        Column("dataset", "string", "As in `predictions`.", nullable=False),
        Column("row_key", "string", "As in `predictions`.", nullable=False),
        Column("feature", "string", "The column's name.", nullable=False),
        Column("value", "double", "The value as a number, where it is one."),
        Column("text", "string", "The value as text, where it isn't a number."),
    ),
    sort_by=("dataset", "feature", "model_name", "model_version", "row_key"),
    rules=("`writer_id` and `writer_seq` are those of the row's predictions, which are committed after these.",),
)

LABELS = TableSpec(
    name="labels",
    grain="One statement of the truth for one row of a dataset.",
    columns=(
        Column("dataset", "string", "The dataset's name, as in `predictions`.", nullable=False),
        Column("row_key", "string", "The row's key as text, as in `predictions`.", nullable=False),
        Column("output", "string", "The output it is the truth for.", nullable=False),
        Column("value", "double", "The truth as a number, where it is one."),
        Column("text", "string", "The truth as text, where it isn't a number."),
        Column("actor", "string", "Who said so."),
    ),
    sort_by=("dataset", "row_key", "recorded_at", "writer_id", "writer_seq"),
    rules=("The label of a row is that of its last row in event order; earlier ones are kept.",),
)
