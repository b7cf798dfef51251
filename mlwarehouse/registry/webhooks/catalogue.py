"""The events that webhooks tell of, each made from one kind of change.

Names and data are those of MLflow 3.17.2 where it has the event (``mlflow/webhooks/types.py``), so that receivers
written for MLflow understand them. A new event is one entry in `EVENTS`.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.registry.fold import ModelState

MAX_TEXT = 16_000
"""Characters of a text in a body; longer ones are cut, and end in an ellipsis."""


class Told(Protocol):
    """What a change of the change feed says, as far as webhooks need it."""

    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def event_at(self) -> dt.datetime: ...  # noqa: D102
    @property
    def recorded_at(self) -> dt.datetime: ...  # noqa: D102
    @property
    def run_id(self) -> str | None: ...  # noqa: D102
    @property
    def model_name(self) -> str | None: ...  # noqa: D102
    @property
    def model_version(self) -> int | None: ...  # noqa: D102
    @property
    def key(self) -> str | None: ...  # noqa: D102
    @property
    def value(self) -> str | None: ...  # noqa: D102
    @property
    def number(self) -> float | None: ...  # noqa: D102
    @property
    def actor(self) -> str | None: ...  # noqa: D102
    @property
    def comment(self) -> str | None: ...  # noqa: D102


Data = Callable[[Told, ModelState], dict[str, Any]]
"""What an event says, from the change and the model as it is when the event is put into the outbox."""


@dataclass(frozen=True)
class WebhookEvent:
    """One event.

    Attributes:
        name: ``<entity>.<action>``.
        kind: The kind of change that it is made from.
        doc: When it happens.
        data: What it says.
        example: What it says in a test.
        where: Which of those changes it is.
    """

    name: str
    kind: str
    doc: str
    data: Data
    example: Mapping[str, Any]
    where: Callable[[Told], bool] = lambda _: True


def _model(told: Told, state: ModelState) -> dict[str, Any]:
    return {"name": told.model_name, "tags": dict(state.tags), "description": state.description}


def _version(told: Told) -> dict[str, Any]:
    return {"name": told.model_name, "version": str(told.model_version)}


def _created(told: Told, state: ModelState) -> dict[str, Any]:
    made = state.versions.get(told.model_version or 0)
    return {
        **_version(told),
        "source": told.value,
        "run_id": told.run_id,
        "tags": {} if made is None else dict(made.tags),
        "description": None if made is None else made.description,
    }


def _request(told: Told, number: int, state: ModelState) -> dict[str, Any]:
    found = state.requests.get(number)
    target = {} if found is None else {"version": str(found.version), "stage": found.stage, "alias": found.alias}
    return {"name": told.model_name, "request_id": number, **target}


def _decided(told: Told, state: ModelState) -> dict[str, Any]:
    return _request(told, int(told.key or 0), state)


_VERSION = {"name": "example_model", "version": "1"}
_REQUEST = {"name": "example_model", "request_id": 7, "version": "1", "stage": "Production", "alias": None}

EVENTS: tuple[WebhookEvent, ...] = (
    WebhookEvent(
        "registered_model.created",
        "model_created",
        "A model was registered under a new name.",
        _model,
        {"name": "example_model", "tags": {"team": "nlp"}, "description": "An example"},
    ),
    WebhookEvent(
        "model_version.created",
        "version_created",
        "A version was registered.",
        _created,
        {**_VERSION, "source": "runs:/1234/model", "run_id": "1234", "tags": {}, "description": "An example"},
    ),
    WebhookEvent(
        "model_version_stage.set",
        "stage_set",
        "A version was moved to a stage.",
        lambda told, _: {**_version(told), "stage": told.value},
        {**_VERSION, "stage": "Production"},
    ),
    WebhookEvent(
        "model_version_alias.created",
        "alias_set",
        "An alias points at a version from now on.",
        lambda told, _: {"name": told.model_name, "alias": told.key, "version": str(told.model_version)},
        {"name": "example_model", "alias": "champion", "version": "1"},
    ),
    WebhookEvent(
        "model_version_alias.deleted",
        "alias_deleted",
        "An alias is gone.",
        lambda told, _: {"name": told.model_name, "alias": told.key},
        {"name": "example_model", "alias": "champion"},
    ),
    WebhookEvent(
        "model_version_tag.set",
        "model_tag_set",
        "A version was given a tag.",
        lambda told, _: {**_version(told), "key": told.key, "value": told.value},
        {**_VERSION, "key": "checked", "value": "yes"},
        lambda told: told.model_version is not None and told.value is not None,
    ),
    WebhookEvent(
        "model_version_tag.deleted",
        "model_tag_set",
        "A version's tag was removed.",
        lambda told, _: {**_version(told), "key": told.key},
        {**_VERSION, "key": "checked"},
        lambda told: told.model_version is not None and told.value is None,
    ),
    WebhookEvent(
        "transition_request.created",
        "transition_requested",
        "Somebody asks that a version is moved.",
        lambda told, state: _request(told, int(told.number or 0), state),
        _REQUEST,
    ),
    WebhookEvent("transition_request.approved", "request_approved", "The move was approved.", _decided, _REQUEST),
    WebhookEvent("transition_request.rejected", "request_rejected", "The move was rejected.", _decided, _REQUEST),
    WebhookEvent("transition_request.cancelled", "request_cancelled", "It was taken back.", _decided, _REQUEST),
    WebhookEvent(
        "gate.failed",
        "gate_checked",
        "A check failed for a version.",
        lambda told, _: {**_version(told), "gate": told.key, "detail": told.comment},
        {**_VERSION, "gate": "accurate", "detail": "0.87 is less than 0.9"},
        lambda told: told.value == "failed",
    ),
)
"""Every event."""

EVENTS_BY_NAME: dict[str, WebhookEvent] = {event.name: event for event in EVENTS}


def named_event(name: str) -> WebhookEvent:
    """The event of a name.

    Raises:
        InvalidInputError: There is none.
    """
    if name not in EVENTS_BY_NAME:
        raise InvalidInputError(
            f"There is no event `{name}`.{did_you_mean(name, EVENTS_BY_NAME)} The events are "
            f"{', '.join(EVENTS_BY_NAME)}."
        )
    return EVENTS_BY_NAME[name]


def event_of(told: Told) -> WebhookEvent | None:
    """The event that a change is, if it is one."""
    return next((e for e in EVENTS if e.kind == told.kind and e.where(told)), None)


def delivery_id(webhook_id: str, told: Told) -> str:
    """The id of one event's delivery to one webhook: the same whoever works it out, and whenever."""
    return str(uuid.uuid5(uuid.UUID(webhook_id), f"{told.model_name}/{told.number:.0f}"))


def body_of(event: WebhookEvent, told: Told, state: ModelState) -> bytes:
    """What is sent for an event: the same each time that it is tried."""
    return _body(
        event, told.event_at, event.data(told, state), actor=told.actor, comment=told.comment, seq=int(told.number or 0)
    )


def example_body(event: WebhookEvent, at: dt.datetime, actor: str) -> bytes:
    """What is sent to try a webhook."""
    return _body(event, at, dict(event.example), actor=actor, comment="a test of the webhook", seq=0)


def _body(event: WebhookEvent, at: dt.datetime, data: dict[str, Any], **more: Any) -> bytes:
    entity, _, action = event.name.partition(".")
    body = {"entity": entity, "action": action, "timestamp": at.isoformat(), "data": data, **more}
    return json.dumps(_short(body)).encode()


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {_short(key): _short(v) for key, v in value.items()}
    return f"{value[:MAX_TEXT]}…" if isinstance(value, str) and len(value) > MAX_TEXT else value
