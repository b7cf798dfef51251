"""The kinds of changes: what an event says of a row, or of rows that came together, of a table.

A new kind is one entry in `KINDS`; a new table's columns are one entry in `FIELDS`. Everything else follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "kind": "VARCHAR",
        "event_at": "TIMESTAMPTZ",
        "recorded_at": "TIMESTAMPTZ",
        "experiment_id": "VARCHAR",
        "run_id": "VARCHAR",
        "model_name": "VARCHAR",
        "model_version": "BIGINT",
        "key": "VARCHAR",
        "value": "VARCHAR",
        "number": "DOUBLE",
        "step": "BIGINT",
        "n_rows": "BIGINT",
        "actor": "VARCHAR",
        "comment": "VARCHAR",
        "writer_id": "VARCHAR",
        "writer_seq": "BIGINT",
    }
)
"""The columns of a change, each with its type in DuckDB's words."""


@dataclass(frozen=True)
class ChangeKind:
    """One kind of change.

    Attributes:
        name: Its name.
        table: The table whose rows it tells of.
        where: Which of its rows, as SQL over ``t``.
        doc: What happened, and what `key`, `value`, `number` and `step` say.
    """

    name: str
    table: str
    where: str
    doc: str


NEW_BEST = ChangeKind(
    "new_best",
    "metrics",
    "FALSE",
    "A value of the metric `key` beats those of all runs of its experiment before it; `value` is the direction, "
    "`number` the value, reached at `step`. One a commit, metric and experiment.",
)
"""Told of metrics that are asked for by name: what is better, a table can't say."""

_REGISTRY: tuple[tuple[str, str, str], ...] = (
    ("model_created", "model_created", "A registered model."),
    ("version_created", "version_created", "A version, made from `value`."),
    ("version_parent_set", "parent_set", "The version was made from the version `value`."),
    ("version_status_set", "status_set", "The version is `value`: pending, ready or failed."),
    ("alias_set", "alias_set", "The alias `key` points at the version."),
    ("alias_deleted", "alias_deleted", "The alias `key` is gone."),
    ("stage_set", "stage_set", "The version was moved to the stage `value`."),
    ("model_tag_set", "tag_set", "Its tag `key` is `value`, or removed."),
    ("model_described", "description_set", "`value` is the text."),
    ("comment_added", "comment_added", "Somebody said `value`."),
    ("comment_edited", "comment_edited", "A comment says `value` from now on."),
    ("comment_deleted", "comment_deleted", "A comment was deleted."),
    ("version_deleted", "version_deleted", "A version was deleted."),
    ("version_restored", "version_restored", "A deleted version is back."),
    ("model_deleted", "model_deleted", "A model was deleted, with all versions."),
    ("model_restored", "model_restored", "A deleted model is back, with all it had."),
    ("model_renamed", "model_renamed", "`value` is its name from now on."),
    (
        "transition_requested",
        "transition_requested",
        "Somebody asks, by request `number`, to move it to stage `value` or alias `key`.",
    ),
    ("request_approved", "request_approved", "The request `key` was approved."),
    ("request_rejected", "request_rejected", "The request `key` was rejected."),
    ("request_cancelled", "request_cancelled", "The request `key` was taken back."),
    (
        "gate_checked",
        "gate_checked",
        "The check `key` for the version `passed` or `failed`, says `value`; `comment` says why.",
    ),
    ("policy_set", "policy_set", "The policy `key` was set; `value` is what it says."),
    ("policy_removed", "policy_removed", "The policy `key` was removed."),
    ("webhook_set", "webhook_set", "The webhook with the id `key` was set; `value` is what it says."),
    ("webhook_removed", "webhook_removed", "The webhook with the id `key` was removed."),
    (
        "webhook_failed",
        "webhook_failed",
        "The webhook with the id `key` couldn't deliver an event and has given up; `value` says which and why.",
    ),
    ("renamed_from", "renamed_from", "A model goes on under this name; `value` was its name."),
)
"""Of the registry: a change's name, the event's kind, and what happened; `number` is its place among the model's."""

KINDS: tuple[ChangeKind, ...] = (
    ChangeKind("experiment_created", "experiment_events", "t.kind = 'created'", "An experiment; `value` is its name."),
    ChangeKind("experiment_renamed", "experiment_events", "t.kind = 'renamed'", "`value` is its name from now on."),
    ChangeKind("experiment_deleted", "experiment_events", "t.kind = 'deleted'", "An experiment was deleted."),
    ChangeKind("experiment_restored", "experiment_events", "t.kind = 'restored'", "A deleted one is active again."),
    ChangeKind(
        "experiment_tag_set", "experiment_events", "t.kind = 'tag_set'", "Its tag `key` is `value`, or removed."
    ),
    ChangeKind("run_started", "run_events", "t.kind = 'started'", "`key` is the run's name."),
    ChangeKind("run_resumed", "run_events", "t.kind = 'resumed'", "A run goes on."),
    ChangeKind("run_finished", "run_events", "t.kind = 'ended' AND t.status = 'FINISHED'", "A run ended well."),
    ChangeKind("run_failed", "run_events", "t.kind = 'ended' AND t.status = 'FAILED'", "A run ended by an error."),
    ChangeKind("run_killed", "run_events", "t.kind = 'ended' AND t.status = 'KILLED'", "A run was broken off."),
    ChangeKind("run_renamed", "run_events", "t.kind = 'renamed'", "`key` is the run's name from now on."),
    ChangeKind("run_deleted", "run_events", "t.kind = 'deleted'", "A run was deleted."),
    ChangeKind("run_restored", "run_events", "t.kind = 'restored'", "A deleted run is active again."),
    ChangeKind("param_set", "param_events", "TRUE", "The param `key` is `value`, as a number `number`."),
    ChangeKind("tag_set", "tag_events", "t.value IS NOT NULL", "The tag `key` is `value`."),
    ChangeKind("tag_removed", "tag_events", "t.value IS NULL", "There is no tag `key` any more."),
    ChangeKind(
        "metric_logged",
        "metrics",
        "TRUE",
        "`n_rows` points of the metric `key`, in the context `value`, came in together; the latest is `number`, and "
        "`step` the last step.",
    ),
    NEW_BEST,
    ChangeKind("input_logged", "input_events", "TRUE", "The dataset `key` with the digest `value` was used."),
    ChangeKind("artifact_logged", "artifact_events", "TRUE", "The file `key` with the digest `value` was stored."),
    *(ChangeKind(name, "registry_events", f"t.kind = '{kind}'", doc) for name, kind, doc in _REGISTRY),
    ChangeKind(
        "registry_changed",
        "registry_events",
        f"t.kind NOT IN ({', '.join(repr(kind) for _, kind, _ in _REGISTRY)})",
        "Anything else in the registry, written by a later release; `key` is what, `value` its text.",
    ),
    ChangeKind("change_refused", "audit", "t.outcome = 'refused'", "`actor` asked for `key` of `value` in vain."),
    ChangeKind(
        "predictions_made", "predictions", "TRUE", "`n_rows` predictions for the dataset `key` came in together."
    ),
    ChangeKind("labels_given", "labels", "TRUE", "`n_rows` labels for the dataset `key` came in together."),
)
"""Every kind of change. Heartbeats, and processes that join a run and leave it, aren't changes."""

KINDS_BY_NAME: dict[str, ChangeKind] = {k.name: k for k in KINDS}


@dataclass(frozen=True)
class Fields:
    """What the columns of changes are in a table.

    Attributes:
        columns: SQL over ``t`` by column; those that aren't named are null, and the envelope's are what they are.
        together: Columns by which rows that came together are one change; empty where each row is one.
        where: Which rows are changes at all, as SQL over ``t``.
    """

    columns: Mapping[str, str]
    together: tuple[str, ...] = ()
    where: str = "TRUE"


_RUN = {"run_id": "t.run_id"}

FIELDS: Mapping[str, Fields] = MappingProxyType(
    {
        "experiment_events": Fields(
            {
                "experiment_id": "t.experiment_id",
                "key": "t.key",
                "value": "COALESCE(t.name, t.value)",
                "actor": "t.actor",
            }
        ),
        "run_events": Fields(
            {
                **_RUN,
                "experiment_id": "t.experiment_id",
                "key": "t.name",
                "value": "t.status",
                "number": "CAST(t.attempt AS DOUBLE)",
                "actor": "t.actor",
            }
        ),
        "param_events": Fields({**_RUN, "key": "t.key", "value": "t.value", "number": "t.value_number"}),
        "tag_events": Fields({**_RUN, "key": "t.key", "value": "t.value", "actor": "t.actor"}),
        "metrics": Fields(
            {
                **_RUN,
                "key": "t.key",
                "value": "t.context",
                "number": "ARG_MAX(t.value, {'step': t.step, 'event_at': t.event_at, 'value': t.value})",
                "step": "MAX(t.step)",
            },
            together=("t.run_id", "t.key", "t.context"),
        ),
        "input_events": Fields({**_RUN, "key": "t.name", "value": "t.digest", "comment": "t.context"}),
        "artifact_events": Fields(
            {**_RUN, "key": "t.path", "value": "t.digest", "number": "CAST(t.size_bytes AS DOUBLE)"}
        ),
        "registry_events": Fields(
            {
                "run_id": "t.run_id",
                "model_name": "t.model_name",
                "model_version": "t.version",
                "key": "COALESCE(t.alias, t.key)",
                "value": "CASE WHEN t.kind = 'version_created' THEN t.source ELSE COALESCE(t.stage, t.value) END",
                "number": "CAST(t.seq AS DOUBLE)",
                "actor": "t.actor",
                "comment": "t.comment",
            },
            # A rename tells what the model has been through once more, under its new name.
            where="NOT starts_with(t.writer_id, 'rename:')",
        ),
        "audit": Fields({"key": "t.action", "value": "t.object", "actor": "t.actor", "comment": "t.detail"}),
        "predictions": Fields(
            {
                "run_id": "t.run_id",
                "model_name": "t.model_name",
                "model_version": "t.model_version",
                "key": "t.dataset",
            },
            together=("t.run_id", "t.model_name", "t.model_version", "t.dataset"),
        ),
        "labels": Fields({"key": "t.dataset", "actor": "t.actor"}, together=("t.dataset", "t.actor")),
    }
)
"""The columns of changes, by table."""


def select(table: str, kinds: tuple[ChangeKind, ...], condition: str = "TRUE") -> str:
    """A `SELECT` of a table's changes, with the columns `COLUMNS`.

    Args:
        table: The table.
        kinds: The kinds that are told of, all of this table.
        condition: Which rows count, as SQL over ``t``.
    """
    fields = FIELDS[table]
    named = " ".join(f"WHEN {k.where} THEN '{k.name}'" for k in kinds)
    grouped = bool(fields.together)
    envelope = {
        # Rows that came together have been asked for as such: they are all of one kind.
        "kind": f"'{kinds[0].name}'" if grouped else f"CASE {named} END",
        "event_at": "MAX(t.event_at)" if grouped else "t.event_at",
        "recorded_at": "t.recorded_at",
        "writer_id": "t.writer_id",
        "writer_seq": "MIN(t.writer_seq)" if grouped else "t.writer_seq",
        "n_rows": "COUNT(*)" if grouped else "CAST(1 AS BIGINT)",
    }
    if table == "registry_events" and any(k.name == "registry_changed" for k in kinds):
        envelope["key"] = (
            f"CASE WHEN {KINDS_BY_NAME['registry_changed'].where} THEN t.kind ELSE {fields.columns['key']} END"
        )
    known = {**fields.columns, **envelope}
    columns = ", ".join(f"{known.get(c, f'CAST(NULL AS {t})')} AS {c}" for c, t in COLUMNS.items())
    chosen = " OR ".join(f"({k.where})" for k in kinds)
    by = f" GROUP BY {', '.join((*fields.together, 't.recorded_at', 't.writer_id'))}" if grouped else ""
    return f"SELECT {columns} FROM {table} AS t WHERE ({chosen}) AND {fields.where} AND {condition}{by}"
