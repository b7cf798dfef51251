"""Sending what is in the outbox: webhooks beside each other, the deliveries of one after the other.

A receiver that fails costs its own deliveries time, and nobody else's. Each delivery waits for itself: the first pause
is a second, each next one twice as long up to an hour, less up to half of it by chance, so that many don't come back at
once.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from mlwarehouse.registry.webhooks import outbox as states
from mlwarehouse.registry.webhooks.definitions import ACTIVE, Webhook
from mlwarehouse.registry.webhooks.outbox import Delivery, Outbox
from mlwarehouse.registry.webhooks.sending import Answer, send
from mlwarehouse.registry.webhooks.signing import headers_of

MAX_TRIES = 15
"""With the pauses between them an event is tried for an hour and a half at least, and for three at most."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 3600.0

AT_ONCE = 8
"""Webhooks that are told at the same time."""


@dataclass(frozen=True)
class Delivered:
    """What was tried, and what waits.

    Attributes:
        deliveries: Each delivery that was tried, as it is now; one that was tried twice is there twice.
        n_waiting: How many wait for their time.
    """

    deliveries: tuple[Delivery, ...]
    n_waiting: int


class Deliverer:
    """Sends. One process at a time has one for an outbox."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        send: Callable[..., Answer] = send,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Begin to send from an outbox."""
        self._outbox, self._send, self._clock, self._chance = outbox, send, clock, chance
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="mlwarehouse-webhook")
        self._turns: dict[str, Future[None]] = {}
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._tried: list[Delivery] = []

    def begin(self, webhooks: Sequence[Webhook]) -> None:
        """Let each webhook that isn't being told already be told what is due."""
        for webhook_id in [i for i, turn in self._turns.items() if turn.done()]:
            self._turns.pop(webhook_id).result()
        for webhook in webhooks:
            if webhook.status == ACTIVE and webhook.webhook_id not in self._turns:
                self._turns[webhook.webhook_id] = self._pool.submit(self._turn, webhook)

    def wait(self) -> None:
        """Wait until nothing that is due is left, or its receiver failed."""
        while self._turns:
            self._turns.popitem()[1].result()

    def tried(self) -> tuple[Delivery, ...]:
        """What was tried since this was last asked."""
        with self._lock:
            found, self._tried = tuple(self._tried), []
        return found

    def close(self) -> None:
        """End: requests that are under way are waited for."""
        self._ending.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _turn(self, webhook: Webhook) -> None:
        """Send what is due until one isn't taken for now: the receiver is left alone then."""
        while not self._ending.is_set():
            delivery = self._outbox.due(webhook.webhook_id, self._clock())
            if delivery is None or not self._try(webhook, delivery):
                return

    def _try(self, webhook: Webhook, delivery: Delivery) -> bool:
        answer = self._answer(webhook, delivery)
        tries, next_at = delivery.tries + 1, self._clock()
        if answer.is_taken:
            state = states.DELIVERED
        elif not answer.may_pass or tries >= MAX_TRIES:
            state = states.FAILED
        else:
            state = states.WAITING
            pause_s = min(FIRST_PAUSE_S * 2 ** (tries - 1), LONGEST_PAUSE_S)
            next_at += max(pause_s * (1 - self._chance() / 2), answer.retry_after_s)
        settled = replace(delivery, tries=tries, state=state, reason=answer.reason)
        self._outbox.settle(settled, next_at)
        with self._lock:
            self._tried.append(settled)
        return state != states.WAITING

    def _answer(self, webhook: Webhook, delivery: Delivery) -> Answer:
        secret = self._outbox.secret(webhook.webhook_id) if webhook.is_signed else None
        if webhook.is_signed and secret is None:
            # Never unsigned: the receiver couldn't tell it from anybody else's.
            return Answer(
                None, "not sent: its secret isn't on this machine; set it here by `mlwarehouse webhooks update`"
            )
        headers = headers_of(secret, delivery.delivery_id, delivery.body, self._clock())
        return self._send(webhook.target(), headers, delivery.body)


def try_once(webhook: Webhook, delivery: Delivery, secret: str | None) -> Answer:
    """Send one delivery that is in no outbox, to try a webhook."""
    return send(webhook.target(), headers_of(secret, delivery.delivery_id, delivery.body, time.time()), delivery.body)
