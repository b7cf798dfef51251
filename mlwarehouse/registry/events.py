"""Events of the registry: what a row of `registry_events` says."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from mlwarehouse.tables import AUDIT, REGISTRY_EVENTS

if TYPE_CHECKING:
    import pyarrow as pa


class Kind(enum.StrEnum):
    """What changed."""

    MODEL_CREATED = "model_created"
    VERSION_CREATED = "version_created"
    ALIAS_SET = "alias_set"
    ALIAS_DELETED = "alias_deleted"
    STAGE_SET = "stage_set"
    TAG_SET = "tag_set"
    DESCRIPTION_SET = "description_set"
    VERSION_DELETED = "version_deleted"
    VERSION_RESTORED = "version_restored"
    MODEL_DELETED = "model_deleted"
    MODEL_RESTORED = "model_restored"
    MODEL_RENAMED = "model_renamed"
    """Under the old name: it ends here."""
    RENAMED_FROM = "renamed_from"
    """Under the new name, behind all that the model has been through."""
    PARENT_SET = "parent_set"
    STATUS_SET = "status_set"
    COMMENT_ADDED = "comment_added"
    COMMENT_EDITED = "comment_edited"
    COMMENT_DELETED = "comment_deleted"
    TRANSITION_REQUESTED = "transition_requested"
    REQUEST_APPROVED = "request_approved"
    REQUEST_REJECTED = "request_rejected"
    REQUEST_CANCELLED = "request_cancelled"
    GATE_CHECKED = "gate_checked"
    POLICY_SET = "policy_set"
    POLICY_REMOVED = "policy_removed"
    WEBHOOK_SET = "webhook_set"
    WEBHOOK_REMOVED = "webhook_removed"
    WEBHOOK_FAILED = "webhook_failed"
    """What a webhook should have told couldn't be delivered, and isn't tried any more."""


@dataclass(frozen=True)
class Change:
    """A change as it is decided, before it has a place in the history.

    Attributes:
        kind: What changes.
        version: The version it concerns; None when it concerns the model.
        alias: The alias, for alias changes.
        stage: The stage moved to.
        key: The tag's key; or the number, as text, of the earlier event that this one is about.
        value: The tag's value (None removes it); or the text of a description or comment, a model's other name, or a
            version's parent.
        source: Where a new version's files are.
        run_id: The run that made a new version.
        digest: The digest of a new version's package.
    """

    kind: Kind
    version: int | None = None
    alias: str | None = None
    stage: str | None = None
    key: str | None = None
    value: str | None = None
    source: str | None = None
    run_id: str | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Event:
    """A change that happened.

    Attributes:
        model_name: The registered model.
        seq: Numbers the model's events from 1 without gaps.
        change: What changed.
        actor: Who did it.
        comment: Why, in the actor's words.
        event_at: When it happened (UTC).
    """

    model_name: str
    seq: int
    change: Change
    actor: str | None
    comment: str | None
    event_at: dt.datetime


@dataclass(frozen=True)
class Decision:
    """What was asked of the registry and what came of it: a row of `audit`.

    Attributes:
        actor: Who asked.
        action: What was asked, such as ``set_model_alias``.
        object: What it was asked of, such as ``models:/sentiment/3``.
        outcome: ``allowed`` or ``refused``.
        detail: The request's arguments, and the reason of a refusal, as JSON.
    """

    actor: str
    action: str
    object: str
    outcome: str
    detail: str


EVENT_COLUMNS = ("model_name", "seq", *(f.name for f in fields(Change)), "actor", "comment", "event_at")
"""The columns of `registry_events` that an `Event` holds."""


def from_row(row: Mapping[str, Any]) -> Event:
    """The event that a row of `EVENT_COLUMNS` says."""
    change = Change(**{**{f.name: row[f.name] for f in fields(Change)}, "kind": Kind(row["kind"])})
    return Event(row["model_name"], row["seq"], change, row["actor"], row["comment"], row["event_at"])


COPIED = "rename:"
"""What the `writer_id` of rows begins with that tell under a new name what happened under an old one."""


def event_table(
    events: Sequence[Event], writer_id: str, writer_seqs: Sequence[int], recorded_at: dt.datetime
) -> pa.Table:
    """Rows of `registry_events` for the events of one request, each with its place among the writer's records."""
    import pyarrow as pa

    rows = [
        {
            "model_name": e.model_name,
            "seq": e.seq,
            **{f.name: getattr(e.change, f.name) for f in fields(Change)},
            "kind": e.change.kind.value,
            "actor": e.actor,
            "comment": e.comment,
            **_envelope(e.event_at, recorded_at, writer_id, writer_seq),
        }
        for e, writer_seq in zip(events, writer_seqs, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=REGISTRY_EVENTS.arrow_schema())


def audit_table(decision: Decision, at: dt.datetime, writer_id: str, writer_seq: int) -> pa.Table:
    """The row of `audit` for one decision."""
    import pyarrow as pa

    row = {f.name: getattr(decision, f.name) for f in fields(Decision)}
    return pa.Table.from_pylist([row | _envelope(at, at, writer_id, writer_seq)], schema=AUDIT.arrow_schema())


def _envelope(at: dt.datetime, recorded_at: dt.datetime, writer_id: str, writer_seq: int) -> dict[str, Any]:
    return {"event_at": at, "recorded_at": recorded_at, "writer_id": writer_id, "writer_seq": writer_seq}
