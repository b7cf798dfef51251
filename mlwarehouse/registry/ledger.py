"""The registry's events on an engine: decided on, and added to, whoever else is changing things.

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
from typing import Any, TypeVar

from mlwarehouse.engines.base import Engine, Reading, Txn
from mlwarehouse.errors import ConcurrentChangeError, InvalidInputError, NotFoundError, WarehouseError
from mlwarehouse.registry.archive import Archive
from mlwarehouse.registry.events import COPIED, Change, Decision, Event, audit_table, event_table
from mlwarehouse.registry.fold import ModelState, fold, step
from mlwarehouse.registry.policies import STREAM, Actor, Policy, guard, moves_of, moves_of_all, policies_of
from mlwarehouse.registry.renaming import renaming
from mlwarehouse.tables import AUDIT, REGISTRY_EVENTS

BUCKETS = 256
"""Counters that all models share, so that a million models don't make a million transaction ids."""

MAX_TRIES = 200
"""With eight processes on one model, a change needs some ten tries at worst."""

MAX_SPREAD = 4
"""How many times its own duration a try waits at most before the next."""

MAX_WAIT_S = 0.1
"""The longest duration that counts for that: the first try of a process also loads libraries."""

POLICIES = "registry-policies"
"""The counter of changes of policies; a change of a model is refused when it moves meanwhile."""

T = TypeVar("T")

Judge = Callable[[tuple[Policy, ...], ModelState], None]
"""Refuses, by an exception, what policies don't allow in a state."""

Tables = Sequence[tuple[Sequence[Event], str]]
"""Events to append, and who writes them."""


def bucket_of(name: str) -> str:
    """The counter that changes of a model are numbered by."""
    return f"registry:{int(hashlib.sha256(name.encode()).hexdigest(), 16) % BUCKETS}"


class Ledger(Archive):
    """Reads the events of models, and adds to them one request at a time.

    Threads may share it.
    """

    def __init__(
        self, engine: Engine, *, actor: Actor, clock: Callable[[], dt.datetime], reading: Reading | None = None
    ) -> None:
        """Work on an engine's tables in the name of an actor; with a reading, look at that state and change nothing."""
        super().__init__(engine, reading)
        self._who = actor
        self._actor = actor.name
        self._known_policies: tuple[int, tuple[Policy, ...]] = (0, ())
        self._clock = clock
        self._writer_id = f"registry:{uuid.uuid4().hex}"
        self._writer_seq = itertools.count()

    @property
    def engine(self) -> Engine:
        """The engine."""
        return self._engine

    @property
    def actor(self) -> Actor:
        """In whose name things are changed."""
        return self._who

    def policies(self) -> tuple[int, tuple[Policy, ...]]:
        """The number of the last change of a policy, 0 for none, and the policies, at least as new as that."""
        if self._reading is not None:
            return 0, policies_of(self.events(STREAM))
        number = self._engine.transaction_version(REGISTRY_EVENTS, POLICIES) or 0
        # Nobody decides on older ones: a commit holds the number that its policies were read behind.
        if number != self._known_policies[0]:
            self._known_policies = number, policies_of(self.events(STREAM))
        return self._known_policies

    def change_policies(
        self, action: str, name: str, decide: Callable[[tuple[Policy, ...]], Change], detail: Mapping[str, Any]
    ) -> None:
        """Change the policies; whoever decides on a model at this moment decides anew.

        Args:
            action: What is asked, for `audit`.
            name: The policy.
            decide: The change; what it raises is the request's answer.
            detail: What was asked for, for `audit`.

        Raises:
            InvalidInputError: This ledger looks at the past.
            ConcurrentChangeError: Others changed policies each time; nothing was recorded.
            WarehouseError: What `decide` raised.
        """
        self.change_stream(
            STREAM, POLICIES, action, f"policy `{name}`", lambda events: [decide(policies_of(events))], detail
        )

    def change_stream(
        self,
        stream: str,
        counter: str,
        action: str,
        asked: str,
        decide: Callable[[tuple[Event, ...]], Sequence[Change]],
        detail: Mapping[str, Any],
    ) -> tuple[Event, ...]:
        """Add to the events of something that isn't a model and stands under a name that none can have.

        Args:
            stream: That name.
            counter: The transaction by which its changes are numbered.
            action: What is asked, for `audit`.
            asked: What it is asked of, for `audit`.
            decide: The changes, one at least, given all events so far; what it raises is the request's answer.
            detail: What was asked for, for `audit`.

        Returns:
            All its events.

        Raises:
            InvalidInputError: This ledger looks at the past.
            ConcurrentChangeError: Others changed it each time; nothing was recorded.
            WarehouseError: What `decide` raised.
        """

        def attempt(_: tuple[Policy, ...]) -> tuple[Tables, tuple[Event, ...]]:
            there = self.events(stream)
            begin, at, comment = max((e.seq for e in there), default=0) + 1, self._clock(), detail.get("comment")
            made = [
                Event(stream, begin + n, change, self._actor, comment, at) for n, change in enumerate(decide(there))
            ]
            return [(made, self._writer_id)], (*there, *made)

        return self._settle(action, asked, [counter], attempt, detail)

    def now(self) -> dt.datetime:
        """The time (UTC)."""
        return self._clock()

    def bulk(self, action: str, asked: str, detail: Mapping[str, Any], work: Callable[[], T]) -> T:
        """Do what changes many models, and put it into `audit`.

        Args:
            action: What is asked.
            asked: What it is asked of.
            detail: What was asked for.
            work: Does it.

        Raises:
            InvalidInputError: This ledger looks at the past.
            WarehouseError: What `work` raised.
        """
        self._refuse_past(action)
        try:
            done = work()
        except WarehouseError as refusal:
            reason = _json({**detail, "reason": str(refusal)})
            self._audit(Decision(self._actor, action, asked, "refused", reason))
            raise
        self._audit_allowed(Decision(self._actor, action, asked, "allowed", _json(detail)))
        return done

    def change(
        self,
        action: str,
        name: str,
        version: int | None,
        decide: Callable[[ModelState], Sequence[Change]],
        arguments: Mapping[str, Any],
        comment: str | None = None,
        expected_seq: int | None = None,
        judge: Judge | None = None,
    ) -> ModelState:
        """Decide on a model's state as it is, and record what was decided before anybody else changes it.

        Args:
            action: What is asked, for `audit`.
            name: The model.
            version: The version it is asked of, for `audit`.
            decide: The changes to record in a state; what it raises is the request's answer.
            arguments: What was asked for, for `audit`.
            comment: Why, in the actor's words.
            expected_seq: The number of the model's last event that the request was made on; None for any.
            judge: Refuses what policies don't allow; None means that the actor does it directly.

        Returns:
            The state after the change.

        Raises:
            InvalidInputError: This ledger looks at the past.
            ConcurrentChangeError: Others changed it each time, or it isn't at `expected_seq` any more; nothing was
                recorded.
            WarehouseError: What ``decide`` raised.
        """
        asked = f"models:/{name}" + (f"/{version}" if version is not None else "")

        def attempt(policies: tuple[Policy, ...]) -> tuple[Tables, ModelState]:
            state = fold(name, self.events(name))
            try:
                if expected_seq is not None and state.last_seq != expected_seq:
                    raise ConcurrentChangeError(
                        f"Registered model `{name}` has changed: its last event is {state.last_seq}, and this was "
                        f"asked on {expected_seq}. Look at it again."
                    )
                changes = decide(state)
                if judge is None:
                    guard(policies, state, moves_of(state, changes), self._who)
                else:
                    judge(policies, state)
            except NotFoundError as refusal:
                if state.exists or state.moved_to is not None:
                    raise
                raise self.unknown(name) from refusal
            at = self._clock()
            events = [
                Event(name, state.last_seq + n, change, self._actor, comment, at)
                for n, change in enumerate(changes, start=1)
            ]
            for event in events:
                state = step(state, event)
            return [(events, self._writer_id)], state

        detail = {**arguments, "comment": comment, "expected_seq": expected_seq}
        return self._settle(action, asked, [bucket_of(name)], attempt, detail)

    def rename(self, name: str, new_name: str, comment: str | None = None) -> ModelState:
        """Give a model another name, with all that it has been through; the old name ends in the same commit.

        Args:
            name: The model.
            new_name: Its name from now on.
            comment: Why, in the actor's words.

        Returns:
            Its state under the new name.

        Raises:
            InvalidInputError: This ledger looks at the past, or the names are the same.
            ConcurrentChangeError: Others changed one of the two each time; nothing was recorded.
            NotFoundError: No such model.
            ConflictError: See `rules.check_rename`.
        """

        def attempt(policies: tuple[Policy, ...]) -> tuple[Tables, ModelState]:
            there = self.events(new_name)
            made = renaming(
                name, self.events(name), new_name, there, actor=self._actor, comment=comment, at=self._clock()
            )
            after = fold(new_name, [*there, *made.copies, made.begun])
            # It leaves what the policies of one name guard, and comes to what those of the other do.
            guard(policies, fold(name, self.events(name)), moves_of_all(after, enters=False), self._who)
            guard(policies, after, moves_of_all(after, enters=True), self._who)
            return [((made.ended, made.begun), self._writer_id), (made.copies, COPIED + self._writer_id)], after

        detail = {"new_name": new_name, "comment": comment}
        return self._settle(
            "rename_registered_model", f"models:/{name}", [bucket_of(name), bucket_of(new_name)], attempt, detail
        )

    def _settle(
        self,
        action: str,
        asked: str,
        counters: Sequence[str],
        attempt: Callable[[tuple[Policy, ...]], tuple[Tables, T]],
        detail: Mapping[str, Any],
    ) -> T:
        self._refuse_past(action)
        for tries in range(MAX_TRIES):
            began = time.monotonic()
            number, policies = self.policies()
            numbers = {c: self._engine.transaction_version(REGISTRY_EVENTS, c) or 0 for c in sorted(set(counters))}
            try:
                tables, state = attempt(policies)
            except WarehouseError as refusal:
                self._audit(Decision(self._actor, action, asked, "refused", _json({**detail, "reason": str(refusal)})))
                raise
            txns = [Txn(c, n + 1) for c, n in numbers.items()]
            holding = [] if POLICIES in numbers else [Txn(POLICIES, number)]
            if self._engine.append(REGISTRY_EVENTS, self._rows(tables), txns=txns, holding=holding).applied:
                self._audit_allowed(Decision(self._actor, action, asked, "allowed", _json(detail)))
                return state
            # About as long as some tries take: the more there are who want the same model, the more they must spread.
            took = min(time.monotonic() - began, MAX_WAIT_S)
            time.sleep(random.uniform(0, took * min(tries + 1, MAX_SPREAD)))
        raise ConcurrentChangeError(
            f"`{asked}` was changed by others {MAX_TRIES} times while this change was decided, so it wasn't recorded; "
            "try again later."
        )

    def _refuse_past(self, action: str) -> None:
        if self._reading is not None:
            raise InvalidInputError(
                f"`{action}` was asked of the registry's past, which can't be changed; ask it of the registry itself."
            )

    def _rows(self, tables: Tables) -> Any:
        import pyarrow as pa

        # What is copied has times of its own; it is recorded with what was decided now.
        at = tables[0][0][-1].event_at
        return pa.concat_tables(
            [event_table(events, who, [next(self._writer_seq) for _ in events], at) for events, who in tables]
        )

    def _audit(self, decision: Decision) -> None:
        rows = audit_table(decision, self._clock(), self._writer_id, next(self._writer_seq))
        self._engine.append(AUDIT, rows)

    def _audit_allowed(self, decision: Decision) -> None:
        try:
            self._audit(decision)
        except WarehouseError as error:
            # The change is recorded: saying that it failed would have it made a second time.
            warnings.warn(f"{decision.action} of {decision.object} is done, but not in `audit`: {error}", stacklevel=6)


def _json(detail: Mapping[str, Any]) -> str:
    return json.dumps({k: v for k, v in detail.items() if v is not None and v != {}}, sort_keys=True)
