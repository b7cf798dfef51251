"""Events of models as MLflow's clients log them."""

from __future__ import annotations

from mlwarehouse.tables.spec import Column, TableSpec

LOGGED_MODEL_EVENTS = TableSpec(
    name="logged_model_events",
    grain="One change of a model that a client of MLflow's has logged through the server.",
    columns=(
        Column("model_id", "string", "The model: `m-` and 32 hexadecimal digits.", nullable=False),
        Column(
            "kind",
            "string",
            "`created`, `status_set`, `tag_set`, `param_set`, `deleted`; or `produced` and `used`, of a run.",
            nullable=False,
        ),
        Column("experiment_id", "string", "The experiment it belongs to, for `created`."),
        Column("run_id", "string", "The run that made the model; the one that it is about, for `produced` and `used`."),
        Column("name", "string", "Its name, for `created`; several models may have one."),
        Column("model_type", "string", "What kind of model it is said to be, for `created`."),
        Column("status", "string", "`PENDING`, `READY` or `UPLOAD_FAILED`, for `created` and `status_set`."),
        Column("key", "string", "The tag's or param's key, for `tag_set` and `param_set`."),
        Column("value", "string", "Its value; null removes the tag."),
        Column("step", "long", "The step at which the run made it, for `produced`."),
        Column("actor", "string", "Who did it."),
    ),
    sort_by=("model_id", "recorded_at", "writer_id", "writer_seq"),
    rules=(
        "A model exists from its `created` row until a `deleted` one; its status and each of its tags is that of the "
        "last row that sets it.",
        "Its files are artifacts of the run that made it, under `models/<model_id>/`; of a model without a run, the "
        "model's id stands in place of the run's.",
    ),
)
