"""What a webhook is: its rows, folded, and what it may be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.registry.events import Event, Kind
from mlwarehouse.registry.webhooks.addresses import Target
from mlwarehouse.registry.webhooks.catalogue import named_event

STREAM = ":webhooks"
"""The name under which the events of webhooks stand; no model can have it."""

COUNTER = "registry-webhooks"
"""The transaction by which they are numbered."""

ACTIVE, DISABLED = "ACTIVE", "DISABLED"

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_STORED = ("name", "url", "events", "models", "description", "status", "is_signed", "allow_private", "allow_http")


@dataclass(frozen=True)
class Webhook:
    """An address that is told what happens to registered models.

    Attributes:
        webhook_id: 32 hexadecimal digits.
        name: Its name.
        url: Where the requests go.
        events: The names of the events that it is told of.
        models: The registered models it is about, with ``*`` and ``?`` as in file names.
        description: What it is for.
        status: ``ACTIVE``, or ``DISABLED`` while it is told nothing.
        is_signed: Whether it has a secret that requests are signed by. The secret itself is never shown.
        allow_private: Whether it may be in a private network, or on this machine.
        allow_http: Whether it may go without TLS.
        user_id: Who set it last.
        creation_timestamp: When it was made, milliseconds since the epoch (UTC).
        last_updated_timestamp: When it was last set.
        n_failed: How many events it couldn't be told, though they were tried to the last.
        last_failure: Why the last of them failed.
    """

    webhook_id: str
    name: str
    url: str
    events: tuple[str, ...]
    models: str = "*"
    description: str | None = None
    status: str = ACTIVE
    is_signed: bool = False
    allow_private: bool = False
    allow_http: bool = False
    user_id: str | None = None
    creation_timestamp: int = 0
    last_updated_timestamp: int = 0
    n_failed: int = 0
    last_failure: str | None = None

    def wants(self, event: str, model: str) -> bool:
        """Whether it is told of an event of a model."""
        return self.status == ACTIVE and event in self.events and fnmatchcase(model, self.models)

    def target(self) -> Target:
        """Where the requests go, taken apart."""
        return Target.of(self.url, allow_private=self.allow_private, allow_http=self.allow_http)

    def text(self) -> str:
        """What is kept of it, as JSON."""
        return json.dumps({word: getattr(self, word) for word in _STORED}, sort_keys=True)


def check_webhook(webhook: Webhook) -> Webhook:
    """Check a webhook before it is set.

    Raises:
        InvalidInputError: Its name, address, events or status can't be.
    """
    if not isinstance(webhook.name, str) or not _NAME.fullmatch(webhook.name):
        raise InvalidInputError(
            f"A webhook can't be called `{str(webhook.name)[:70]}`: a name has up to 63 letters, digits, `.`, `_` and "
            "`-`, with a letter or digit at both ends."
        )
    if not webhook.events:
        raise InvalidInputError(f"`events` of webhook `{webhook.name}` is empty; name one at least.")
    for event in webhook.events:
        named_event(event)
    if webhook.status not in (ACTIVE, DISABLED):
        raise InvalidInputError(f"The status of a webhook is {ACTIVE} or {DISABLED}; got `{webhook.status}`.")
    if not isinstance(webhook.models, str) or not webhook.models:
        raise InvalidInputError(
            f"`models` of webhook `{webhook.name}` is a pattern of names, `*` for all; got {webhook.models!r}."
        )
    webhook.target()
    return replace(webhook, events=tuple(dict.fromkeys(webhook.events)))


def webhooks_of(events: Iterable[Event]) -> tuple[Webhook, ...]:
    """The webhooks that there are, by name."""
    found: dict[str, Webhook] = {}
    for event in sorted(events, key=lambda e: e.seq):
        key, at = event.change.key or "", int(event.event_at.timestamp() * 1000)
        if event.change.kind is Kind.WEBHOOK_SET:
            before = found.get(key)
            given: dict[str, Any] = json.loads(event.change.value or "{}")
            known = {word: given[word] for word in _STORED if word in given}
            known["events"] = tuple(known["events"])
            found[key] = Webhook(
                key,
                **known,
                user_id=event.actor,
                creation_timestamp=at if before is None else before.creation_timestamp,
                last_updated_timestamp=at,
                n_failed=0 if before is None else before.n_failed,
                last_failure=None if before is None else before.last_failure,
            )
        elif event.change.kind is Kind.WEBHOOK_REMOVED:
            found.pop(key, None)
        elif key in found:
            reason = json.loads(event.change.value or "{}").get("reason")
            found[key] = replace(found[key], n_failed=found[key].n_failed + 1, last_failure=reason)
    return tuple(sorted(found.values(), key=lambda w: w.name))


def named(webhooks: Sequence[Webhook], name: str) -> Webhook | None:
    """The webhook of a name, or of an id."""
    return next((w for w in webhooks if name in (w.name, w.webhook_id)), None)
