"""Bulk registration: many versions of many models in one commit, exactly once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlwarehouse.engines.base import Late, Reading, Txn
from mlwarehouse.errors import InvalidInputError, StorageError
from mlwarehouse.registry.fold import ModelState
from mlwarehouse.registry.ledger import POLICIES, Ledger, bucket_of
from mlwarehouse.registry.policies import Move, Policy, guard
from mlwarehouse.tables import REGISTRY_EVENTS

if TYPE_CHECKING:
    from mlwarehouse.registry.bulk_rows import Known, Versions

Check = Callable[[tuple[Policy, ...]], None]
"""Refuses, by an exception, what policies don't allow."""

MAX_TRIES = 10
"""How often rows are made anew because somebody changed one of the models while they were written."""

NAMES_AT_ONCE = 200_000
"""Models whose last numbers are asked for together."""


@dataclass(frozen=True)
class BulkRegistered:
    """What a bulk registration did.

    Attributes:
        source_id: The name it was given.
        n_versions: Versions that were added.
        n_models: Models that they are of.
        is_new: False when the source id was there, so that nothing was added.
    """

    source_id: str
    n_versions: int
    n_models: int
    is_new: bool


def bulk_register(ledger: Ledger, given: Any, source_id: str, comment: str | None) -> BulkRegistered:
    """See `Registry.bulk_register`."""
    from mlwarehouse.registry.bulk_rows import event_rows, read_versions, targets, with_parents

    if not isinstance(source_id, str) or not source_id.strip():
        raise InvalidInputError(f"A source id must be text that isn't empty; got {source_id!r}.")
    engine, source = ledger.engine, Txn(f"registry-bulk:{source_id}", 1)
    there = BulkRegistered(source_id, 0, 0, is_new=False)
    if engine.transaction_version(REGISTRY_EVENTS, source.app_id):
        return there
    versions = read_versions(given)
    if not len(versions):
        return BulkRegistered(source_id, 0, 0, is_new=True)
    versions = with_parents(versions, ledger.states)
    models = versions.models.to_pylist()

    def check(policies: tuple[Policy, ...]) -> None:
        for stage, alias in targets(versions):
            for policy in policies:
                covered = (name for name in models if policy.covers(name, Move(None, stage, alias)))
                name = next(covered, None)
                if name is not None:
                    guard([policy], ModelState(name), [Move(None, stage, alias)], ledger.actor)

    buckets = sorted({bucket_of(name) for name in models})
    for _ in range(MAX_TRIES):
        seen = engine.version(REGISTRY_EVENTS)
        rows = event_rows(
            versions,
            _known(ledger, versions, seen),
            actor=ledger.actor.name,
            comment=comment,
            writer_id=source.app_id,
            at=int(ledger.now().timestamp() * 1_000_000),
        )
        decide = _Decide(ledger, source, buckets, models, seen, check)
        done = engine.append_late(REGISTRY_EVENTS, rows, decide)
        if done.applied:
            return BulkRegistered(source_id, len(versions), len(models), is_new=True)
        if engine.transaction_version(REGISTRY_EVENTS, source.app_id):
            return there
    raise StorageError(
        f"Of the {len(models)} models of `{source_id}` some were changed by others each of {MAX_TRIES} times, so "
        "nothing was added; try again later."
    )


class _Decide:
    """Numbers the commit, as long as none of the models has changed since they were looked at."""

    def __init__(
        self, ledger: Ledger, source: Txn, buckets: list[str], models: list[str], seen: int, check: Check
    ) -> None:
        self._ledger, self._source, self._buckets = ledger, source, buckets
        self._models, self._seen, self._check = frozenset(models), seen, check

    def __call__(self) -> Late | None:
        engine = self._ledger.engine
        number, policies = self._ledger.policies()
        self._check(policies)
        # The numbers first: a change that comes behind them is one that they refuse.
        counters = [engine.transaction_version(REGISTRY_EVENTS, b) or 0 for b in self._buckets]
        if engine.transaction_version(REGISTRY_EVENTS, self._source.app_id):
            return None
        now = engine.version(REGISTRY_EVENTS)
        if now > self._seen:
            since = Reading(versions={REGISTRY_EVENTS.name: now}, since={REGISTRY_EVENTS.name: self._seen})
            changed = engine.query("SELECT DISTINCT model_name FROM registry_events", reading=since)
            if not self._models.isdisjoint(changed.column("model_name").to_pylist()):
                return None
            self._seen = now
        txns = [Txn(b, n + 1) for b, n in zip(self._buckets, counters, strict=True)]
        return Late([self._source, *txns], [Txn(POLICIES, number)])


def _known(ledger: Ledger, versions: Versions, seen: int) -> Known:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from mlwarehouse.registry.bulk_rows import Known

    n = len(versions.models)
    known = Known(np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, bool))
    for begin in range(0, n, NAMES_AT_ONCE):
        some = versions.models.slice(begin, NAMES_AT_ONCE)
        found = ledger.engine.query(
            _LAST,
            reading=Reading(versions={REGISTRY_EVENTS.name: seen}),
            parameters={"names": some.to_pylist(), "low": some[0].as_py(), "high": some[-1].as_py()},
        )
        places = pc.index_in(found.column("model_name").cast(pa.string()), versions.models).to_numpy()
        known.last_seq[places] = found.column("last_seq").to_numpy()
        known.last_version[places] = found.column("last_version").to_numpy()
        known.exists[places] = found.column("is_there").to_numpy()
    return known


_LIVES = ("model_created", "model_restored", "model_deleted", "model_renamed")
_LAST = f"""
    SELECT
        model_name,
        MAX(seq) AS last_seq,
        GREATEST(
            COALESCE(MAX(version) FILTER (WHERE kind = 'version_created'), 0),
            COALESCE(MAX(CASE WHEN kind = 'renamed_from' THEN CAST(key AS BIGINT) END), 0)
        ) AS last_version,
        COALESCE(ARG_MAX(kind, seq) FILTER (WHERE kind IN {_LIVES}) IN ('model_created', 'model_restored'), FALSE)
            AS is_there
    FROM registry_events
    WHERE model_name BETWEEN $low AND $high AND model_name IN (SELECT UNNEST($names))
    GROUP BY model_name"""
