"""The fold: a model's events to its state, the same that the SQL views compute."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from mlwarehouse.entities import (
    GateResult,
    ModelComment,
    ModelVersion,
    RegisteredModel,
    Stage,
    TransitionRequest,
    VersionStatus,
)
from mlwarehouse.registry.events import Change, Event, Kind

DECISIONS = {
    Kind.REQUEST_APPROVED: "approved",
    Kind.REQUEST_REJECTED: "rejected",
    Kind.REQUEST_CANCELLED: "cancelled",
}
"""What becomes of a request."""


@dataclass(frozen=True)
class VersionState:
    """One version of a model.

    Attributes:
        version: Its number.
        created: The change that created it.
        user_id: Who created it.
        created_at: When.
        updated_at: When the last of its events happened.
        stage: The last stage it was moved to.
        description: The last description given.
        tags: Value by key.
        parent: The version that it was made from, as ``models:/<name>/<version>``.
        status: How far its registration has come.
    """

    version: int
    created: Change
    user_id: str | None
    created_at: dt.datetime
    updated_at: dt.datetime
    stage: str = Stage.NONE
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    status: str = VersionStatus.READY


@dataclass(frozen=True)
class CommentState:
    """A comment on a model or one of its versions.

    Attributes:
        version: The version; None for the model.
        text: Markdown.
        user_id: Who wrote it.
        created_at: When.
        updated_at: When it was last edited.
    """

    version: int | None
    text: str
    user_id: str | None
    created_at: dt.datetime
    updated_at: dt.datetime


@dataclass(frozen=True)
class RequestState:
    """A request that a version is moved.

    Attributes:
        version: The version.
        stage: The stage it shall come to, unless it is an alias.
        alias: The alias.
        user_id: Who requested it.
        comment: Why, in their words.
        created_at: When.
        status: ``open``, ``approved``, ``rejected`` or ``cancelled``.
        decided_by: Who decided.
        decision: Why, in their words.
        decided_at: When.
    """

    version: int
    stage: str | None
    alias: str | None
    user_id: str | None
    comment: str | None
    created_at: dt.datetime
    status: str = "open"
    decided_by: str | None = None
    decision: str | None = None
    decided_at: dt.datetime | None = None


@dataclass(frozen=True)
class GateState:
    """The last result of a check for a version.

    Attributes:
        passed: Whether it passed.
        detail: What it found.
        user_id: Who ran it.
        checked_at: When.
    """

    passed: bool
    detail: str | None
    user_id: str | None
    checked_at: dt.datetime


@dataclass(frozen=True)
class ModelState:
    """One registered model, or a name that none has.

    Attributes:
        name: The name.
        exists: Whether there is a model of this name now.
        last_seq: The number of the last event; 0 when there never was one.
        last_version: The highest version number ever given; numbers of deleted versions and models stay used.
        first_seq: The number of the event that the model's own life begins with.
        created_at: When the model was created.
        updated_at: When the last of its events, or of its versions' events, happened.
        description: The last description given.
        tags: Value by key.
        versions: The versions there are, by number.
        deleted: Versions that were deleted and can be restored, by number.
        aliases: Version by alias.
        comments: The comments there are, by the number of the event that added them.
        requests: All transition requests, by the number of the event that opened them.
        gates: The last results of checks, by version and name.
        before: The model as it was when it was deleted, if it was; by that it can be restored.
        moved_to: The name that the model was given last, if it has another one now.
    """

    name: str
    exists: bool = False
    last_seq: int = 0
    last_version: int = 0
    first_seq: int = 1
    created_at: dt.datetime | None = None
    updated_at: dt.datetime | None = None
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    versions: dict[int, VersionState] = field(default_factory=dict)
    deleted: dict[int, VersionState] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    comments: dict[int, CommentState] = field(default_factory=dict)
    requests: dict[int, RequestState] = field(default_factory=dict)
    gates: dict[tuple[int, str], GateState] = field(default_factory=dict)
    before: ModelState | None = None
    moved_to: str | None = None

    def aliases_of(self, version: int) -> tuple[str, ...]:
        """The aliases that point to a version, sorted."""
        return tuple(sorted(alias for alias, at in self.aliases.items() if at == version))

    def registered_model(self) -> RegisteredModel:
        """The model as an entity; only for one that exists."""
        return RegisteredModel(
            name=self.name,
            creation_timestamp=milliseconds(self.created_at),
            last_updated_timestamp=milliseconds(self.updated_at),
            description=self.description,
            aliases=MappingProxyType(dict(self.aliases)),
            tags=MappingProxyType(dict(self.tags)),
        )

    def model_version(self, number: int) -> ModelVersion:
        """One of its versions as an entity."""
        version = self.versions[number]
        return ModelVersion(
            name=self.name,
            version=number,
            creation_timestamp=milliseconds(version.created_at),
            current_stage=version.stage,
            description=version.description,
            user_id=version.user_id,
            source=version.created.source,
            run_id=version.created.run_id,
            digest=version.created.digest,
            aliases=self.aliases_of(number),
            tags=MappingProxyType(dict(version.tags)),
            last_updated_timestamp=milliseconds(version.updated_at),
            parent=version.parent,
            status=version.status,
        )

    def request(self, number: int) -> TransitionRequest:
        """One of its requests as an entity."""
        found = self.requests[number]
        return TransitionRequest(
            request_id=number,
            name=self.name,
            version=found.version,
            stage=found.stage,
            alias=found.alias,
            status=found.status,
            user_id=found.user_id,
            comment=found.comment,
            creation_timestamp=milliseconds(found.created_at),
            decided_by=found.decided_by,
            decision_comment=found.decision,
            decision_timestamp=None if found.decided_at is None else milliseconds(found.decided_at),
        )

    def gate(self, version: int, name: str) -> GateResult:
        """The last result of a check as an entity."""
        found = self.gates[version, name]
        return GateResult(
            name=self.name,
            version=version,
            gate=name,
            passed=found.passed,
            detail=found.detail,
            user_id=found.user_id,
            checked_timestamp=milliseconds(found.checked_at),
        )

    def has_comment(self, number: int) -> bool:
        """Whether there is such a comment, and what it is on."""
        found = self.comments.get(number)
        return found is not None and (found.version is None or found.version in self.versions)

    def comment(self, number: int) -> ModelComment:
        """One of its comments as an entity."""
        found = self.comments[number]
        return ModelComment(
            comment_id=number,
            name=self.name,
            version=found.version,
            text=found.text,
            user_id=found.user_id,
            creation_timestamp=milliseconds(found.created_at),
            last_updated_timestamp=milliseconds(found.updated_at),
        )


def fold(name: str, events: Iterable[Event]) -> ModelState:
    """The state that a model's events add up to.

    Args:
        name: The model.
        events: Its events, in any order.
    """
    state = ModelState(name)
    for event in sorted(events, key=lambda e: e.seq):
        state = _advance(state, event)
    return state


def step(state: ModelState, event: Event) -> ModelState:
    """The state after one more event; the one given stays as it is."""
    return _advance(_apart(state), event)


def _apart(state: ModelState) -> ModelState:
    return replace(
        state,
        versions=dict(state.versions),
        deleted=dict(state.deleted),
        aliases=dict(state.aliases),
        comments=dict(state.comments),
        requests=dict(state.requests),
        gates=dict(state.gates),
    )


def _advance(state: ModelState, event: Event) -> ModelState:
    """As `step`, but `state` isn't to be used any more: its dicts go into the result, so a long history folds fast."""
    change, kind = event.change, event.change.kind
    if kind in (Kind.MODEL_DELETED, Kind.MODEL_RENAMED):
        is_renamed = kind is Kind.MODEL_RENAMED
        return ModelState(
            state.name,
            last_seq=event.seq,
            last_version=state.last_version,
            first_seq=event.seq + 1,
            before=None if is_renamed else state,
            moved_to=change.value if is_renamed else None,
        )
    if kind is Kind.MODEL_RESTORED and state.before is not None:
        # Its dicts are those of the state before too, which `step` leaves alone.
        state = _apart(state.before)
    state = replace(state, last_seq=event.seq, updated_at=event.event_at)
    if kind is Kind.MODEL_CREATED:
        return replace(
            state, exists=True, created_at=event.event_at, description=change.value, before=None, moved_to=None
        )
    if kind is Kind.RENAMED_FROM:
        return replace(state, last_version=max(state.last_version, int(change.key or 0)))
    if kind in (Kind.COMMENT_ADDED, Kind.COMMENT_EDITED, Kind.COMMENT_DELETED):
        _on_comment(state.comments, event)
    elif kind is Kind.TRANSITION_REQUESTED or kind in DECISIONS:
        _on_request(state.requests, event)
    elif kind is Kind.GATE_CHECKED and change.version is not None:
        result = GateState(change.value == "passed", event.comment, event.actor, event.event_at)
        state.gates[change.version, change.key or ""] = result
    elif kind is Kind.ALIAS_SET and change.alias is not None and change.version is not None:
        state.aliases[change.alias] = change.version
    elif kind is Kind.ALIAS_DELETED and change.alias is not None:
        state.aliases.pop(change.alias, None)
    if change.version is None:
        return _on_model(state, change)
    if kind is Kind.VERSION_CREATED:
        at = event.event_at
        state.versions[change.version] = VersionState(
            change.version, change, event.actor, at, at, description=change.value
        )
        return replace(state, last_version=max(state.last_version, change.version))
    if kind is Kind.VERSION_DELETED:
        for alias in state.aliases_of(change.version):
            del state.aliases[alias]
        state.deleted[change.version] = state.versions.pop(change.version)
        return state
    if kind is Kind.VERSION_RESTORED:
        state.versions[change.version] = state.deleted.pop(change.version)
    state.versions[change.version] = replace(
        _on_version(state.versions[change.version], change), updated_at=event.event_at
    )
    return state


def _on_model(state: ModelState, change: Change) -> ModelState:
    if change.kind is Kind.TAG_SET:
        return replace(state, tags=_tagged(state.tags, change))
    if change.kind is Kind.DESCRIPTION_SET:
        return replace(state, description=change.value)
    return state


def _on_version(version: VersionState, change: Change) -> VersionState:
    if change.kind is Kind.TAG_SET:
        return replace(version, tags=_tagged(version.tags, change))
    if change.kind is Kind.DESCRIPTION_SET:
        return replace(version, description=change.value)
    if change.kind is Kind.STAGE_SET and change.stage is not None:
        return replace(version, stage=change.stage)
    if change.kind is Kind.PARENT_SET:
        return replace(version, parent=change.value)
    if change.kind is Kind.STATUS_SET and change.value is not None:
        return replace(version, status=change.value)
    return version


def _on_comment(comments: dict[int, CommentState], event: Event) -> None:
    change, at = event.change, event.event_at
    if change.kind is Kind.COMMENT_ADDED:
        comments[event.seq] = CommentState(change.version, change.value or "", event.actor, at, at)
    elif change.kind is Kind.COMMENT_EDITED:
        number = int(change.key or 0)
        comments[number] = replace(comments[number], text=change.value or "", updated_at=at)
    else:
        del comments[int(change.key or 0)]


def _on_request(requests: dict[int, RequestState], event: Event) -> None:
    change, at = event.change, event.event_at
    if change.kind is Kind.TRANSITION_REQUESTED:
        requests[event.seq] = RequestState(
            change.version or 0, change.stage, change.alias, event.actor, event.comment, at
        )
        return
    number = int(change.key or 0)
    requests[number] = replace(
        requests[number],
        status=DECISIONS[change.kind],
        decided_by=event.actor,
        decision=event.comment,
        decided_at=at,
    )


def _tagged(tags: Mapping[str, str], change: Change) -> dict[str, str]:
    rest = {k: v for k, v in tags.items() if k != change.key}
    return rest if change.key is None or change.value is None else {**rest, change.key: change.value}


def milliseconds(at: dt.datetime | None) -> int:
    """A time as milliseconds since the epoch; 0 for None."""
    return 0 if at is None else int(at.timestamp() * 1_000_000) // 1000
