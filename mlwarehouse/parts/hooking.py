"""The part of a warehouse that keeps webhooks: who is told what happens to registered models."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.parts.delivering import Delivering

if TYPE_CHECKING:
    from mlwarehouse.registry.webhooks import Webhook

MIN_SECRET = 16
"""Characters of the shortest secret."""


@dataclass(frozen=True)
class WebhookTestResult:
    """What came of trying a webhook.

    Attributes:
        success: Whether the receiver took it.
        response_status: The receiver's status; None when there was no answer.
        response_body: The beginning of its answer.
        error_message: What went wrong; None where nothing did.
    """

    success: bool
    response_status: int | None
    response_body: str
    error_message: str | None


class Hooking(Delivering):
    """Webhooks."""

    def create_webhook(
        self,
        name: str,
        url: str,
        events: Sequence[str],
        description: str | None = None,
        secret: str | None = None,
        status: str = "ACTIVE",
        *,
        models: str = "*",
        allow_private: bool = False,
        allow_http: bool = False,
        comment: str | None = None,
    ) -> Webhook:
        """Let an address be told what happens to registered models from now on.

        Nothing is sent by this: `deliver_webhooks`, or `mlwarehouse webhooks deliver`, does that.

        Args:
            name: Its name: up to 63 letters, digits, ``.``, ``_`` and ``-``.
            url: Where the requests go; everybody who can read the tables can read it.
            events: What it is told of, such as ``["model_version.created", "gate.failed"]``.
            description: What it is for.
            secret: What requests are signed by, 16 characters at least. It stays on this machine, in a file for its
                owner alone. None leaves requests unsigned.
            status: ``ACTIVE``, or ``DISABLED``.
            models: Only of these registered models, with ``*`` and ``?`` as in file names.
            allow_private: Whether it may be in a private network, or on this machine.
            allow_http: Whether it may go without TLS.
            comment: Why, in the actor's words.

        Raises:
            InvalidInputError: Something in it can't be.
            ConflictError: There is a webhook of this name.
            PermissionDeniedError: The actor lacks the role `admin`.
            StorageError: The secret can't be kept.
        """
        from mlwarehouse.registry.webhooks import Webhook
        from mlwarehouse.registry.webhooks.definitions import check_webhook

        webhook = check_webhook(
            Webhook(
                webhook_id=uuid.uuid4().hex,
                name=name,
                url=url,
                events=_listed(events),
                models=models,
                description=description,
                status=status,
                is_signed=secret is not None,
                allow_private=allow_private,
                allow_http=allow_http,
            )
        )
        return self._set(webhook, secret, is_new=True, comment=comment)

    def get_webhook(self, name: str) -> Webhook:
        """A webhook, by name or id.

        Raises:
            NotFoundError: There is none.
        """
        return self.registry.webhook(name)

    def list_webhooks(self) -> list[Webhook]:
        """The webhooks that there are, by name."""
        return list(self.registry.webhooks())

    def update_webhook(
        self,
        name: str,
        *,
        new_name: str | None = None,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        secret: str | None = None,
        status: str | None = None,
        models: str | None = None,
        allow_private: bool | None = None,
        allow_http: bool | None = None,
        comment: str | None = None,
    ) -> Webhook:
        """Change a webhook; what isn't given stays as it is.

        Args:
            name: Its name or id.
            new_name: Its name from now on.
            url: As for `create_webhook`, and so are the others.
            events: What it is told of.
            description: What it is for.
            secret: What requests are signed by from now on, also those that wait.
            status: ``DISABLED`` keeps what waits, and adds nothing to it.
            models: Of which registered models.
            allow_private: Whether it may be in a private network.
            allow_http: Whether it may go without TLS.
            comment: Why, in the actor's words.

        Raises:
            InvalidInputError: Something in it can't be.
            NotFoundError: There is no such webhook.
            ConflictError: There is another one of the new name.
            PermissionDeniedError: The actor lacks the role `admin`.
        """
        given: dict[str, Any] = {
            "name": new_name,
            "url": url,
            "events": None if events is None else _listed(events),
            "description": description,
            "status": status,
            "models": models,
            "allow_private": allow_private,
            "allow_http": allow_http,
            "is_signed": None if secret is None else True,
        }
        changed = replace(self.get_webhook(name), **{word: v for word, v in given.items() if v is not None})
        return self._set(changed, secret, is_new=False, comment=comment)

    def delete_webhook(self, name: str, *, comment: str | None = None) -> None:
        """Remove a webhook, with its secret and what it had still to deliver.

        Args:
            name: Its name or id.
            comment: Why, in the actor's words.

        Raises:
            NotFoundError: There is none.
            PermissionDeniedError: The actor lacks the role `admin`.
        """
        self.registry.remove_webhook(name, comment)
        with self._outbox() as outbox:
            outbox.keep_only([w.webhook_id for w in self.list_webhooks()])

    def test_webhook(self, name: str, event: str | None = None) -> WebhookTestResult:
        """Send an example to a webhook, once and from here.

        Args:
            name: Its name or id.
            event: Of which event; None means the first that it is told of.

        Raises:
            NotFoundError: There is no such webhook.
            InvalidInputError: There is no such event, or the secret isn't on this machine.
        """
        from mlwarehouse.registry.webhooks.catalogue import example_body, named_event
        from mlwarehouse.registry.webhooks.deliverer import try_once
        from mlwarehouse.registry.webhooks.outbox import Delivery

        webhook = self.get_webhook(name)
        found = named_event(event or webhook.events[0])
        with self._outbox() as outbox:
            secret = outbox.secret(webhook.webhook_id) if webhook.is_signed else None
        if webhook.is_signed and secret is None:
            raise InvalidInputError(
                f"The secret of webhook `{webhook.name}` isn't on this machine; set it here by `update_webhook`."
            )
        body = example_body(found, dt.datetime.now(dt.UTC), self.settings.actor or "test")
        answer = try_once(webhook, Delivery(str(uuid.uuid4()), webhook.webhook_id, found.name, "", body), secret)
        return WebhookTestResult(answer.is_taken, answer.status, answer.text, answer.reason or None)

    def _set(self, webhook: Webhook, secret: str | None, *, is_new: bool, comment: str | None) -> Webhook:
        if secret is not None and (not isinstance(secret, str) or len(secret) < MIN_SECRET):
            raise InvalidInputError(
                f"A webhook's secret is a text of {MIN_SECRET} characters at least; take one by chance, such as "
                f"`secrets.token_urlsafe({2 * MIN_SECRET})` gives."
            )
        if secret is None:
            return self.registry.set_webhook(webhook, is_new=is_new, comment=comment)
        with self._outbox() as outbox:
            before = outbox.secret(webhook.webhook_id)
            # Before the row, so that nobody finds a webhook whose secret isn't there yet.
            outbox.keep_secret(webhook.webhook_id, secret)
            try:
                return self.registry.set_webhook(webhook, is_new=is_new, comment=comment)
            except BaseException:
                outbox.keep_secret(webhook.webhook_id, before)
                raise


def _listed(events: Sequence[str]) -> tuple[str, ...]:
    if isinstance(events, str):
        raise InvalidInputError(f"`events` must be a list; got the text `{events}`. Write [{events!r}].")
    if not isinstance(events, Iterable):
        raise InvalidInputError(f"`events` must be a list of events; got {type(events).__name__}.")
    return tuple(str(event) for event in events)
