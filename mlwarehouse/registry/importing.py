"""Models of another registry: their versions keep their numbers, and everything its time.

What is brought says so in its `comment`. Where a source is brought again, each of its facts is compared with what was
brought of it before, so that what was changed here since stays as it is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mlwarehouse.engines.base import Txn
from mlwarehouse.errors import ConcurrentChangeError, InvalidInputError, PermissionDeniedError
from mlwarehouse.registry import names
from mlwarehouse.registry.events import Change, Event, Kind, event_table
from mlwarehouse.registry.fold import ModelState, fold
from mlwarehouse.registry.ledger import MAX_TRIES, POLICIES, Ledger, bucket_of
from mlwarehouse.registry.policies import guard, moves_of
from mlwarehouse.tables import REGISTRY_EVENTS


@dataclass(frozen=True)
class SourceVersion:
    """A version of a registered model; times are microseconds since the epoch.

    Attributes:
        number: Its number, which is kept.
        created_at: When it was made.
        updated_at: When it was last changed: taken as the time of its stage.
        source: Where its files are.
        run_id: The run that made it.
        user: Who made it.
        description: Markdown.
        stage: Its stage now; None for none.
        tags: Its tags.
    """

    number: int
    created_at: int
    updated_at: int | None = None
    source: str | None = None
    run_id: str | None = None
    user: str | None = None
    description: str | None = None
    stage: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceModel:
    """A registered model; times are microseconds since the epoch.

    Attributes:
        name: Its name.
        created_at: When it was made.
        updated_at: When it was last changed: taken as the time of its description, tags and aliases.
        description: Markdown.
        tags: Its tags.
        aliases: Version number by alias.
        versions: Its versions, in the order of their numbers.
    """

    name: str
    created_at: int
    updated_at: int | None = None
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)
    versions: Sequence[SourceVersion] = ()


@dataclass
class Brought:
    """What came.

    Attributes:
        models: Models that were new or changed.
        model_versions: Versions that were new.
        model_aliases: Aliases that were new or moved.
        oddities: Kind, place and detail of what couldn't come as it was.
    """

    models: int = 0
    model_versions: int = 0
    model_aliases: int = 0
    oddities: list[tuple[str, str, str]] = field(default_factory=list)


def import_models(ledger: Ledger | None, given: Iterable[SourceModel], *, source_id: str, writes: bool) -> Brought:
    """Bring models.

    A model goes to the one of its name that has the same versions, made at the same times; where the name has another
    model, it gets a name that says so.

    Args:
        ledger: The registry's; None on a dry run where there is no warehouse.
        given: The models.
        source_id: The source's name, for the comments.
        writes: False only says what would come.

    Raises:
        ConcurrentChangeError: Others changed a model each time.
        StorageError: A commit failed.
    """
    brought = Brought()
    for model in given:
        try:
            usable = _usable(model, brought)
            events = _bring(ledger, usable, source_id, writes, brought)
        except (InvalidInputError, PermissionDeniedError) as error:
            brought.oddities.append(("model refused", model.name, str(error)))
            continue
        brought.models += bool(events)
        brought.model_versions += len({e.change.version for e in events if e.change.kind is Kind.VERSION_CREATED})
        brought.model_versions -= sum(e.change.kind is Kind.VERSION_DELETED for e in events)
        brought.model_aliases += sum(e.change.kind is Kind.ALIAS_SET for e in events)
    return brought


def _bring(
    ledger: Ledger | None, model: SourceModel, source_id: str, writes: bool, brought: Brought
) -> Sequence[Event]:
    comment = f"Imported from {source_id}"
    if ledger is None:
        return list(_missing(model, (), ModelState(model.name), comment))
    for _ in range(MAX_TRIES):
        number, policies = ledger.policies()
        name, counter, before = _place(ledger, model)
        state = fold(name, before)
        events = list(_missing(replace(model, name=name), before, state, comment))
        # What is deleted is what fills a gap, and was never anywhere.
        changes = [e.change for e in events if e.change.kind is not Kind.VERSION_DELETED]
        guard(policies, state, moves_of(state, changes), ledger.actor)
        if events and writes:
            rows = event_table(events, f"import:{source_id}", range(len(events)), ledger.now())
            txns = [Txn(bucket_of(name), counter + 1)]
            if not ledger.engine.append(REGISTRY_EVENTS, rows, txns=txns, holding=[Txn(POLICIES, number)]).applied:
                continue
        if name != model.name:
            detail = f"another model has the name `{model.name}`; it is `{name}` here"
            brought.oddities.append(("model name taken", model.name, detail))
        return events
    raise ConcurrentChangeError(f"Model `{model.name}` was changed by others {MAX_TRIES} times; import it again.")


def _place(ledger: Ledger, model: SourceModel) -> tuple[str, int, tuple[Event, ...]]:
    """The name under which a model comes, the number of its counter, and what that name has been through."""
    name, tries = model.name, 1
    while True:
        # The counter before the events: a change that comes between them is then refused.
        counter = ledger.engine.transaction_version(REGISTRY_EVENTS, bucket_of(name)) or 0
        events = ledger.events(name)
        if not events or _is_same(model, events):
            return name, counter, events
        tries += 1
        name = names.model_name(f"{model.name} ({tries})")


def _is_same(model: SourceModel, events: Sequence[Event]) -> bool:
    made = {e.change.version: e.event_at for e in events if e.change.kind is Kind.VERSION_CREATED}
    both = [v for v in model.versions if v.number in made]
    if both:
        return all(made[v.number] == _time(v.created_at) for v in both)
    created = [e.event_at for e in events if e.change.kind is Kind.MODEL_CREATED]
    return _time(model.created_at) in created


def _missing(model: SourceModel, before: Sequence[Event], state: ModelState, comment: str) -> Iterator[Event]:
    """The events that a model lacks."""
    known = _brought_before(before)
    seq = state.last_seq
    wanted = [*_of_model(model), *(e for v in model.versions for e in _of_version(v, model, state.last_version))]
    wanted += [
        (Change(Kind.ALIAS_SET, version=number, alias=alias), model.updated_at or model.created_at, None)
        for alias, number in sorted(model.aliases.items())
    ]
    for change, at, actor in wanted:
        fact = _fact(change)
        if fact is not None and known.get(fact[0], fact[2]) == fact[1]:
            continue
        if change.kind is Kind.MODEL_CREATED and before:
            continue
        if change.kind in (Kind.VERSION_CREATED, Kind.VERSION_DELETED) and (change.version or 0) <= state.last_version:
            continue
        seq += 1
        yield Event(model.name, seq, change, actor, comment, _time(at))


def _of_model(model: SourceModel) -> Iterator[tuple[Change, int, str | None]]:
    at = model.updated_at or model.created_at
    yield Change(Kind.MODEL_CREATED), model.created_at, None
    yield Change(Kind.DESCRIPTION_SET, value=model.description), at, None
    for key, value in sorted(model.tags.items()):
        yield Change(Kind.TAG_SET, key=key, value=value), at, None


def _of_version(version: SourceVersion, model: SourceModel, last: int) -> Iterator[tuple[Change, int, str | None]]:
    number = version.number
    earlier = max((v.number for v in model.versions if v.number < number), default=0)
    for gone in range(max(earlier, last) + 1, number):
        # Numbers have no gaps here: a version that was deleted there is one that was deleted here.
        yield Change(Kind.VERSION_CREATED, version=gone, source=""), version.created_at, None
        yield Change(Kind.VERSION_DELETED, version=gone), version.created_at, None
    made = Change(
        Kind.VERSION_CREATED,
        version=number,
        value=version.description,
        source=version.source or "",
        run_id=version.run_id,
    )
    yield made, version.created_at, version.user
    at = version.updated_at or version.created_at
    if number <= last:
        yield Change(Kind.DESCRIPTION_SET, version=number, value=version.description), at, version.user
    yield Change(Kind.STAGE_SET, version=number, stage=version.stage or "None"), at, version.user
    for key, value in sorted(version.tags.items()):
        yield Change(Kind.TAG_SET, version=number, key=key, value=value), at, version.user


Fact = tuple[tuple[object, ...], str | None, str | None]
"""What a change is about, what it says of it, and what holds where nothing was said."""


def _fact(change: Change) -> Fact | None:
    about = (change.kind, change.version, change.key, change.alias)
    if change.kind is Kind.STAGE_SET:
        return about, change.stage, "None"
    if change.kind is Kind.ALIAS_SET:
        return (change.kind, change.alias), str(change.version), None
    if change.kind in (Kind.TAG_SET, Kind.DESCRIPTION_SET):
        return about, change.value, None
    return None


def _brought_before(events: Sequence[Event]) -> dict[tuple[object, ...], str | None]:
    known: dict[tuple[object, ...], str | None] = {}
    for event in events:
        if event.comment is None or not event.comment.startswith("Imported from "):
            continue
        fact = _fact(event.change)
        if fact is not None:
            known[fact[0]] = fact[1]
        if event.change.kind is Kind.VERSION_CREATED:
            known[Kind.DESCRIPTION_SET, event.change.version, None, None] = event.change.value
    return known


def _usable(model: SourceModel, brought: Brought) -> SourceModel:
    """A model without the aliases and stages that can't be here."""
    names.model_name(model.name)
    aliases, versions = {}, []
    numbers = {v.number for v in model.versions}
    for alias, number in model.aliases.items():
        try:
            aliases[names.alias_name(alias)] = number
            if number not in numbers:
                raise InvalidInputError(f"Alias `{alias}` points to version {number}, which isn't there.")
        except InvalidInputError as error:
            aliases.pop(alias, None)
            brought.oddities.append(("alias refused", f"models:/{model.name}@{alias}", str(error)))
    for version in model.versions:
        try:
            stage = None if version.stage is None else names.stage_named(version.stage).value
        except InvalidInputError as error:
            stage = None
            brought.oddities.append(("stage refused", f"models:/{model.name}/{version.number}", str(error)))
        versions.append(replace(version, stage=stage))
    return replace(model, aliases=aliases, versions=sorted(versions, key=lambda v: v.number))


def _time(at: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=at)
