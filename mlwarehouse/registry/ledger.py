"""The registry's events on an engine: read, decided on, and added to, whoever else is changing things.

A change is a compare-and-set on an append-only table. Model names are hashed to `BUCKETS` counters, each a Delta
transaction ``registry:<bucket>``. A request reads its counter n, then the model's events, decides, and appends with
n+1; the commit is refused when another one has taken n+1, and then everything starts over. The counter is read
*before* the events: had a change come in between, it would be in the events and n would be stale, so the append would
be refused; the other order could decide on events that are older than the counter it commits with.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
import random
import time
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlwarehouse.engines.base import Engine, Reading, Txn
from mlwarehouse.errors import (
    ConcurrentChangeError,
    InvalidInputError,
    NotFoundError,
    WarehouseError,
    did_you_mean,
)
from mlwarehouse.registry.events import EVENT_COLUMNS, Change, Decision, Event, audit_table, event_table, from_row
from mlwarehouse.registry.fold import ModelState, fold, step
from mlwarehouse.tables import AUDIT, REGISTRY_EVENTS

BUCKETS = 256
"""Counters that all models share, so that a million models don't make a million transaction ids."""

MAX_TRIES = 200
"""With eight processes on one model, a change needs some ten tries at worst."""

MAX_SPREAD = 4
"""How many times its own duration a try waits at most before the next."""

MAX_WAIT_S = 0.1
"""The longest duration that counts for that: the first try of a process also loads libraries."""

_MAX_SUGGESTED = 1000


class Ledger:
    """Reads the events of models, and adds to them one request at a time.

    Threads may share it.
    """

    def __init__(
        self, engine: Engine, *, actor: str, clock: Callable[[], dt.datetime], reading: Reading | None = None
    ) -> None:
        """Work on an engine's tables in the name of an actor; with a reading, look at that state and change nothing."""
        self._engine = engine
        self._reading = reading
        self._actor = actor
        self._clock = clock
        self._writer_id = f"registry:{uuid.uuid4().hex}"
        self._writer_seq = itertools.count()

    def events(self, name: str) -> tuple[Event, ...]:
        """The events of one model, in order."""
        rows = self._engine.query(
            f"SELECT {', '.join(EVENT_COLUMNS)} FROM registry_events WHERE model_name = $name ORDER BY seq",
            reading=self._reading,
            parameters={"name": name},
        )
        return tuple(from_row(row) for row in rows.to_pylist())

    def state(self, name: str) -> ModelState:
        """The state of a model that exists.

        Raises:
            NotFoundError: It doesn't; the message has names like it.
        """
        state = fold(name, self.events(name))
        if not state.exists:
            raise self.unknown(name)
        return state

    def states(self, chosen: str, parameters: Mapping[str, Any]) -> dict[str, ModelState]:
        """The states of the models whose names a question chooses, by name.

        Args:
            chosen: A `SELECT` of names.
            parameters: Values of its ``$`` marks.
        """
        rows = self._engine.query(
            f"SELECT {', '.join(EVENT_COLUMNS)} FROM registry_events WHERE model_name IN ({chosen}) "
            "ORDER BY model_name, seq",
            reading=self._reading,
            parameters=parameters,
        ).to_pylist()
        groups = itertools.groupby(rows, key=lambda r: str(r["model_name"]))
        return {name: fold(name, map(from_row, group)) for name, group in groups}

    def unknown(self, name: str) -> NotFoundError:
        """The error for a name that no model has."""
        # Only names that begin alike: there may be a model for each of a million devices.
        rows = self._engine.query(
            f"SELECT name FROM registered_models WHERE lower(name) LIKE $start LIMIT {_MAX_SUGGESTED}",
            reading=self._reading,
            parameters={"start": name[:1].lower() + "%"},
        )
        return NotFoundError(
            f"There is no registered model `{name}`.{did_you_mean(name, [r['name'] for r in rows.to_pylist()])}"
        )

    def change(
        self,
        action: str,
        name: str,
        version: int | None,
        decide: Callable[[ModelState], Sequence[Change]],
        arguments: Mapping[str, Any],
        comment: str | None = None,
    ) -> ModelState:
        """Decide on a model's state as it is, and record what was decided before anybody else changes it.

        Args:
            action: What is asked, for `audit`.
            name: The model.
            version: The version it is asked of, for `audit`.
            decide: The changes to record in a state; what it raises is the request's answer.
            arguments: What was asked for, for `audit`.
            comment: Why, in the actor's words.

        Returns:
            The state after the change.

        Raises:
            InvalidInputError: This ledger looks at the past.
            ConcurrentChangeError: Others changed it each time; nothing was recorded.
            WarehouseError: What ``decide`` raised.
        """
        if self._reading is not None:
            raise InvalidInputError(
                f"`{action}` was asked of the registry's past, which can't be changed; ask it of the registry itself."
            )
        asked = f"models:/{name}" + (f"/{version}" if version is not None else "")
        detail = {**arguments, "comment": comment}
        bucket = f"registry:{int(hashlib.sha256(name.encode()).hexdigest(), 16) % BUCKETS}"
        for attempt in range(MAX_TRIES):
            began = time.monotonic()
            counter = self._engine.transaction_version(REGISTRY_EVENTS, bucket) or 0
            state = fold(name, self.events(name))
            try:
                changes = decide(state)
            except WarehouseError as refusal:
                self._audit(Decision(self._actor, action, asked, "refused", _json({**detail, "reason": str(refusal)})))
                if isinstance(refusal, NotFoundError) and not state.exists:
                    raise self.unknown(name) from refusal
                raise
            at = self._clock()
            events = [
                Event(name, state.last_seq + n, change, self._actor, comment, at)
                for n, change in enumerate(changes, start=1)
            ]
            rows = event_table(events, self._writer_id, next(self._writer_seq))
            if self._engine.append(REGISTRY_EVENTS, rows, txns=[Txn(bucket, counter + 1)]).applied:
                self._audit_allowed(Decision(self._actor, action, asked, "allowed", _json(detail)))
                for event in events:
                    state = step(state, event)
                return state
            # About as long as some tries take: the more there are who want the same model, the more they must spread.
            took = min(time.monotonic() - began, MAX_WAIT_S)
            time.sleep(random.uniform(0, took * min(attempt + 1, MAX_SPREAD)))
        raise ConcurrentChangeError(
            f"`{asked}` was changed by others {MAX_TRIES} times while this change was decided, so it wasn't recorded; "
            "try again later."
        )

    def _audit(self, decision: Decision) -> None:
        rows = audit_table(decision, self._clock(), self._writer_id, next(self._writer_seq))
        self._engine.append(AUDIT, rows)

    def _audit_allowed(self, decision: Decision) -> None:
        try:
            self._audit(decision)
        except WarehouseError as error:
            # The change is recorded: saying that it failed would have it made a second time.
            warnings.warn(f"{decision.action} of {decision.object} is done, but not in `audit`: {error}", stacklevel=5)


def _json(detail: Mapping[str, Any]) -> str:
    return json.dumps({k: v for k, v in detail.items() if v is not None and v != {}}, sort_keys=True)
