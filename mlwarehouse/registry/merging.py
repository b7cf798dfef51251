"""Models of another warehouse: their events as they are, behind those that both have.

A model's events are numbered. Where those of one side begin with all of the other's, the model is the same and the
longer history goes on. Where each side has events that the other lacks, version numbers would mean two things; then the
other side's model comes whole, under a name that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlwarehouse.engines.base import Txn
from mlwarehouse.errors import ConcurrentChangeError, GateNotPassedError, PermissionDeniedError
from mlwarehouse.registry import names
from mlwarehouse.registry.events import EVENT_COLUMNS, Kind, from_row
from mlwarehouse.registry.fold import ModelState, fold
from mlwarehouse.registry.ledger import MAX_TRIES, POLICIES, Ledger, bucket_of
from mlwarehouse.registry.policies import Move, Policy, guard
from mlwarehouse.tables import REGISTRY_EVENTS

if TYPE_CHECKING:
    import pyarrow as pa

MODELS_AT_ONCE = 2000
"""Models whose events are in memory at once, and come in one commit."""

Ask = Callable[..., "pa.Table"]
"""Answers a question about the other warehouse, given SQL and parameters by name."""

Row = Mapping[str, Any]

_SAME = tuple(name for name in (*EVENT_COLUMNS, "writer_id", "writer_seq") if name != "model_name")
"""What two events have in common that are one."""


@dataclass
class Merged:
    """What came.

    Attributes:
        models: Models that were new or had more to them.
        rows: Events that came.
        names: By their names there, the names here of models that have another one.
        oddities: Kind, place and detail of what couldn't come as it was.
    """

    models: int = 0
    rows: int = 0
    names: dict[str, str] = field(default_factory=dict)
    oddities: list[tuple[str, str, str]] = field(default_factory=list)


def merge_models(ledger: Ledger, ask: Ask, *, writes: bool) -> Merged:
    """Bring models.

    Args:
        ledger: The registry's.
        ask: Answers questions about the other warehouse.
        writes: False only says what would come.

    Raises:
        ConcurrentChangeError: Others changed models all the time; what was brought by then stays.
        StorageError: A commit failed; likewise.
    """
    merged = Merged()
    asked = "SELECT DISTINCT model_name FROM registry_events ORDER BY model_name"
    everything = [str(name) for name in ask(asked).column(0).to_pylist()]
    theirs = [name for name in everything if not name.startswith(":")]
    for name in sorted(set(everything) - set(theirs)):
        detail = "they are this warehouse's own affair, and were left out"
        merged.oddities.append((f"{name.removeprefix(':')} left out", name, detail))
    batches = [theirs[n : n + MODELS_AT_ONCE] for n in range(0, len(theirs), MODELS_AT_ONCE)]
    for some in batches:
        _find_names(ledger, ask, some, set(theirs), merged)
    for some in batches:
        _bring(ledger, ask, some, writes, merged)
    return merged


def _find_names(ledger: Ledger, ask: Ask, some: Sequence[str], theirs: Collection[str], merged: Merged) -> None:
    """Find names for models that went different ways here and there."""
    ours, given = _streams(ledger.engine.query, some), _streams(ask, some)
    for name in some:
        target, tries = name, 1
        while not _goes_on(ours.get(target, ()), given[name]):
            tries += 1
            target = names.model_name(f"{name} ({tries})")
            while target in theirs or target in merged.names.values():
                tries += 1
                target = names.model_name(f"{name} ({tries})")
            if target not in ours:
                ours |= _streams(ledger.engine.query, [target])
        if target != name:
            merged.names[name] = target
            detail = f"the model `{name}` here has gone another way; the other one is `{target}` here"
            merged.oddities.append(("model name taken", name, detail))


def _bring(ledger: Ledger, ask: Ask, some: Sequence[str], writes: bool, merged: Merged) -> None:
    given = _streams(ask, some)
    targets = {name: merged.names.get(name, name) for name in some}
    refused: dict[str, str] = {}
    for _ in range(MAX_TRIES):
        number, policies = ledger.policies()
        buckets = sorted({bucket_of(target) for target in targets.values()})
        # The counters before the events: a change that comes between them is then refused.
        counters = {b: ledger.engine.transaction_version(REGISTRY_EVENTS, b) or 0 for b in buckets}
        ours = _streams(ledger.engine.query, sorted(targets.values()))
        new: dict[str, Sequence[Row]] = {}
        for name, target in targets.items():
            there = ours.get(target, ())
            if not _goes_on(there, given[name]):
                raise ConcurrentChangeError(f"Model `{target}` was changed while it was merged; merge again.")
            rows = [_named(row, target, merged.names) for row in given[name][len(there) :]]
            refusal = _refusal(policies, target, there, rows, ledger) if rows else None
            if refusal is not None:
                refused[name] = refusal
            elif rows:
                new[target] = rows
        if new and writes:
            needed = {bucket_of(target) for target in new}
            done = ledger.engine.append(
                REGISTRY_EVENTS,
                _table([row for rows in new.values() for row in rows]),
                txns=[Txn(b, n + 1) for b, n in counters.items() if b in needed],
                holding=[Txn(POLICIES, number)],
            )
            if not done.applied:
                refused.clear()
                continue
        merged.models += len(new)
        merged.rows += sum(map(len, new.values()))
        merged.oddities += [("model refused", name, reason) for name, reason in refused.items()]
        return
    raise ConcurrentChangeError(f"Models were changed by others {MAX_TRIES} times while they were merged; merge again.")


def _streams(ask: Ask, some: Sequence[str]) -> dict[str, list[Row]]:
    """All events of some models, by name, in order."""
    found: dict[str, list[Row]] = {}
    if some:
        # The bounds tell the reader of files where to look.
        sql = """
            SELECT * FROM registry_events
            WHERE model_name BETWEEN $low AND $high AND model_name IN (SELECT UNNEST($names))
            ORDER BY model_name, seq"""
        parameters = {"names": list(some), "low": min(some), "high": max(some)}
        rows = ask(sql, parameters=parameters)
        for row in rows.to_pylist():
            found.setdefault(row["model_name"], []).append(row)
    return found


def _goes_on(ours: Sequence[Row], theirs: Sequence[Row]) -> bool:
    """Whether one begins with all of the other."""
    return all(
        a.get(name) == b.get(name) or (name == "value" and a.get("kind") == Kind.PARENT_SET)
        for a, b in zip(ours, theirs, strict=False)
        for name in _SAME
    )


def _named(row: Row, target: str, new_names: Mapping[str, str]) -> Row:
    named = {**row, "model_name": target}
    if row["kind"] == Kind.PARENT_SET and row["value"]:
        name, _, version = str(row["value"]).removeprefix("models:/").rpartition("/")
        named["value"] = f"models:/{new_names.get(name, name)}/{version}"
    return named


def _refusal(
    policies: tuple[Policy, ...], name: str, before: Sequence[Row], rows: Sequence[Row], ledger: Ledger
) -> str | None:
    """Why policies don't let events come; None where they do."""
    events = [from_row(row) for row in (*before, *rows)]
    then, now = fold(name, events[: len(before)]), fold(name, events)
    try:
        guard(policies, now, list(_moves(then, now)), ledger.actor)
    except (PermissionDeniedError, GateNotPassedError) as error:
        return str(error)
    return None


def _moves(then: ModelState, now: ModelState) -> Iterator[Move]:
    """The moves that lead from one state of a model to another, whatever way it went."""
    for number in sorted(then.versions.keys() | now.versions.keys()):
        old, new = then.versions.get(number), now.versions.get(number)
        if old is not None and (new is None or new.stage != old.stage):
            yield Move(number, stage=old.stage, enters=False)
        if new is not None and (old is None or new.stage != old.stage):
            yield Move(number, stage=new.stage)
    for alias in sorted(then.aliases.keys() | now.aliases.keys()):
        was, is_now = then.aliases.get(alias), now.aliases.get(alias)
        if was is not None and was != is_now:
            yield Move(was, alias=alias, enters=False)
        if is_now is not None and was != is_now:
            yield Move(is_now, alias=alias)


def _table(rows: Sequence[Row]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), schema=REGISTRY_EVENTS.arrow_schema())
