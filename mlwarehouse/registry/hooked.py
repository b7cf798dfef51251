"""Webhooks of the registry: set, removed and listed as rows, and what they couldn't deliver."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import ConflictError, NotFoundError, did_you_mean
from mlwarehouse.registry.events import Change, Event, Kind
from mlwarehouse.registry.fold import ModelState
from mlwarehouse.registry.ledger import Ledger
from mlwarehouse.registry.policies import need_admin
from mlwarehouse.registry.webhooks.definitions import COUNTER, STREAM, Webhook, check_webhook, named, webhooks_of

if TYPE_CHECKING:
    from mlwarehouse.registry.webhooks.outbox import Delivery


class Hooked:
    """The rows of webhooks. Threads may share it."""

    _ledger: Ledger

    def webhooks(self) -> tuple[Webhook, ...]:
        """The webhooks that there are, by name."""
        return webhooks_of(self._ledger.events(STREAM))

    def webhook(self, name: str) -> Webhook:
        """A webhook, by name or id.

        Raises:
            NotFoundError: There is none.
        """
        return _need(self.webhooks(), name)

    def set_webhook(self, webhook: Webhook, *, is_new: bool, comment: str | None = None) -> Webhook:
        """Set a webhook, by its id.

        Args:
            webhook: The webhook.
            is_new: Whether there must be none of its id and name; else there must be one.
            comment: Why, in the actor's words.

        Raises:
            InvalidInputError: Something in it can't be.
            PermissionDeniedError: The actor lacks the role `admin`.
            ConflictError: There is another one of its name.
            NotFoundError: It isn't there any more.
        """
        checked = check_webhook(webhook)

        def decide(there: tuple[Webhook, ...]) -> Change:
            need_admin(self._ledger.actor, f"set webhook `{checked.name}`")
            if any(w.name == checked.name and w.webhook_id != checked.webhook_id for w in there):
                raise ConflictError(f"There is a webhook `{checked.name}` already; change it by `update_webhook`.")
            if not is_new:
                _need(there, checked.webhook_id)
            return Change(Kind.WEBHOOK_SET, key=checked.webhook_id, value=checked.text())

        detail = {"webhook": checked.text(), "comment": comment}
        return _need(self._settle("set_webhook", checked.name, decide, detail), checked.webhook_id)

    def remove_webhook(self, name: str, comment: str | None = None) -> Webhook:
        """Remove a webhook, by name or id; returns what it was.

        Raises:
            NotFoundError: There is none.
            PermissionDeniedError: The actor lacks the role `admin`.
        """
        removed = []

        def decide(there: tuple[Webhook, ...]) -> Change:
            need_admin(self._ledger.actor, f"remove webhook `{name}`")
            removed.append(_need(there, name))
            return Change(Kind.WEBHOOK_REMOVED, key=removed[-1].webhook_id)

        self._settle("remove_webhook", name, decide, {"comment": comment})
        return removed[-1]

    def record_failures(self, failed: Sequence[Delivery]) -> None:
        """Record deliveries that aren't tried any more, each once.

        Args:
            failed: The deliveries.
        """

        def decide(_: tuple[Event, ...]) -> list[Change]:
            return [Change(Kind.WEBHOOK_FAILED, key=d.webhook_id, value=_told(d)) for d in failed]

        there = {e.change.value for e in self._ledger.events(STREAM) if e.change.kind is Kind.WEBHOOK_FAILED}
        failed = [d for d in failed if _told(d) not in there]
        if failed:
            self._ledger.change_stream(
                STREAM, COUNTER, "record_failures", "webhooks", decide, {"n_failed": len(failed)}
            )

    def states(self, names: Sequence[str]) -> dict[str, ModelState]:
        """The states of some models, by name; of names that were never used there is none."""
        return self._ledger.states(names)

    def _settle(
        self, action: str, name: str, decide: Callable[[tuple[Webhook, ...]], Change], detail: dict[str, Any]
    ) -> tuple[Webhook, ...]:
        events = self._ledger.change_stream(
            STREAM, COUNTER, action, f"webhook `{name}`", lambda there: [decide(webhooks_of(there))], detail
        )
        return webhooks_of(events)


def _need(webhooks: Sequence[Webhook], name: str) -> Webhook:
    found = named(webhooks, name)
    if found is None:
        raise NotFoundError(f"There is no webhook `{name}`.{did_you_mean(name, [w.name for w in webhooks])}")
    return found


def _told(delivery: Delivery) -> str:
    told = {word: getattr(delivery, word) for word in ("delivery_id", "event", "model", "tries", "reason")}
    return json.dumps(told, sort_keys=True)
