"""The part of a warehouse that delivers: what happened to registered models, to the webhooks that want to know."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from mlwarehouse.disk import try_lock
from mlwarehouse.entities import Snapshot
from mlwarehouse.errors import ConflictError, SnapshotGoneError
from mlwarehouse.parts.changing import Changing
from mlwarehouse.parts.governing import Governing

if TYPE_CHECKING:
    from mlwarehouse.query import ChangePage
    from mlwarehouse.registry.webhooks import Webhook
    from mlwarehouse.registry.webhooks.deliverer import Delivered, Deliverer
    from mlwarehouse.registry.webhooks.outbox import Delivery, Outbox, Place

LOOKED_BACK_S = 3600.0
"""Where the cursor grew too old: how much before its time is looked at again, for commits that came late."""

MOVED_EVERY_S = 3600.0
"""How often the cursor is moved when nothing happens to models."""

CHANGES_AT_ONCE = 1000
"""Changes that are put into the outbox together."""


class Delivering(Governing, Changing):
    """Deliveries to webhooks."""

    def deliver_webhooks(self, *, failed: bool = False) -> Delivered:
        """Tell webhooks what has happened, as far as it is due, and come back.

        Args:
            failed: Also try again what was given up.

        Returns:
            The deliveries that were tried, each as it is now, and how many wait for their time.

        Raises:
            ConflictError: Another process delivers this moment.
            StorageError: Tables or outbox can't be read or written.
        """
        with self._delivering() as (outbox, deliverer):
            if deliverer is None:
                raise ConflictError("Another process delivers the warehouse's webhooks this moment; leave it to that.")
            if failed:
                outbox.try_failed_again()
            self._cycle(outbox, deliverer)
            deliverer.wait()
            self._record_failures(outbox)
            return self._delivered(outbox, deliverer)

    def follow_webhooks(self, *, poll_s: float = 1.0) -> Iterator[Delivered]:
        """Tell webhooks what happens, as it happens, for ever.

        Of several processes one delivers; the others take over when it ends, however it ends.

        Args:
            poll_s: How often to look, in seconds.

        Yields:
            The deliveries that were tried since the last time; only when there are some.

        Raises:
            StorageError: Tables or outbox can't be read or written.
        """
        while True:
            with self._delivering() as (outbox, deliverer):
                while deliverer is not None:
                    self._cycle(outbox, deliverer)
                    done = self._delivered(outbox, deliverer)
                    if done.deliveries:
                        yield done
                    time.sleep(poll_s)
            time.sleep(poll_s)

    @contextmanager
    def _outbox(self) -> Iterator[Outbox]:
        from mlwarehouse.registry.webhooks.outbox import Outbox

        with closing(Outbox(self.webhooks_folder())) as outbox:
            yield outbox

    @contextmanager
    def _delivering(self) -> Iterator[tuple[Outbox, Deliverer | None]]:
        """The outbox, and who sends from it; None where another process does."""
        from mlwarehouse.registry.webhooks.deliverer import Deliverer
        from mlwarehouse.registry.webhooks.outbox import LOCK

        with self._outbox() as outbox:
            fd = os.open(outbox.path.with_name(LOCK), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if not try_lock(fd):
                    yield outbox, None
                    return
                with closing(Deliverer(outbox)) as deliverer:
                    yield outbox, deliverer
            finally:
                os.close(fd)

    def _cycle(self, outbox: Outbox, deliverer: Deliverer) -> None:
        """Take in what has happened, and let it be sent."""
        self._take_in(outbox)
        deliverer.begin(self.registry.webhooks())
        self._record_failures(outbox)

    def _record_failures(self, outbox: Outbox) -> None:
        failed = outbox.untold()
        if failed:
            self.registry.record_failures(failed)
            outbox.told(failed)

    def _delivered(self, outbox: Outbox, deliverer: Deliverer) -> Delivered:
        from mlwarehouse.registry.webhooks.deliverer import Delivered

        waiting = sum(n for (_, state), n in outbox.counts().items() if state == "waiting")
        return Delivered(deliverer.tried(), waiting)

    def _take_in(self, outbox: Outbox) -> None:
        """Put what has happened since the cursor into the outbox, and move the cursor."""
        from mlwarehouse.registry.webhooks.outbox import Place
        from mlwarehouse.tables import REGISTRY_EVENTS

        place = outbox.place()
        start = None if place is None else Snapshot.parse(place.cursor)
        name = REGISTRY_EVENTS.name
        # What else is logged each second is none of ours; but a cursor mustn't grow old.
        is_young = place is not None and time.time() - place.taken_at < MOVED_EVERY_S
        if start is not None and is_young and start.versions.get(name) == self.engine().version(REGISTRY_EVENTS):
            return
        stop = self._state()
        # Behind the state that is gone up to: each that was there then is among them.
        webhooks = self.registry.webhooks()
        outbox.keep_only([w.webhook_id for w in webhooks])
        if webhooks:
            known = frozenset() if place is None else place.webhook_ids
            page = self._since(place, min(w.creation_timestamp for w in webhooks) / 1000, stop)
            for begin in range(0, len(page), CHANGES_AT_ONCE):
                outbox.add(self._deliveries(page[begin : begin + CHANGES_AT_ONCE], webhooks, known))
        outbox.go_on(Place(str(stop), time.time(), frozenset(w.webhook_id for w in webhooks)))

    def _since(self, place: Place | None, first_at: float, stop: Snapshot) -> ChangePage:
        """What has happened since the cursor; without one, since the first webhook was made."""
        from mlwarehouse.registry.webhooks import EVENTS

        kinds = sorted({event.kind for event in EVENTS})
        if place is None:
            return self._page(_moment(first_at), stop, kinds, None, None, None)
        try:
            return self._page(self.find_snapshot(place.cursor), stop, kinds, None, None, None)
        except SnapshotGoneError:
            # Nobody delivered for so long that the files are gone, or the tables were restored from a copy: then rows
            # are found by their times, and those that were delivered before are known by their ids.
            return self._page(_moment(place.taken_at - LOOKED_BACK_S), stop, kinds, None, None, None)

    def _deliveries(self, changes: Sequence[Any], webhooks: Sequence[Webhook], known: frozenset[str]) -> list[Delivery]:
        from mlwarehouse.registry.webhooks.catalogue import body_of, delivery_id, event_of
        from mlwarehouse.registry.webhooks.outbox import Delivery

        wanted = []
        for told in changes:
            event = event_of(told)
            if event is None:
                continue
            for webhook in webhooks:
                # One that is new isn't told what happened before it. One that was there already is told all that came
                # in since, whatever the clock of the machine that it came from said.
                is_before = told.recorded_at.timestamp() * 1000 < webhook.creation_timestamp
                if webhook.wants(event.name, told.model_name or "") and (webhook.webhook_id in known or not is_before):
                    wanted.append((webhook, event, told))
        states = self.registry.states(list({told.model_name or "" for _, _, told in wanted})) if wanted else {}
        return [
            Delivery(
                delivery_id(webhook.webhook_id, told),
                webhook.webhook_id,
                event.name,
                told.model_name,
                body_of(event, told, states[told.model_name]),
            )
            for webhook, event, told in wanted
        ]


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
