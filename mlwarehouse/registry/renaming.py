"""Renames: a model goes on under another name, with all that it has been through."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlwarehouse.registry import rules
from mlwarehouse.registry.events import Change, Event, Kind
from mlwarehouse.registry.fold import fold

ABOUT_EVENTS = (
    Kind.MODEL_RESTORED,
    Kind.COMMENT_EDITED,
    Kind.COMMENT_DELETED,
    Kind.REQUEST_APPROVED,
    Kind.REQUEST_REJECTED,
    Kind.REQUEST_CANCELLED,
)
"""Kinds whose `key` is the number of an event."""


@dataclass(frozen=True)
class Renaming:
    """What a rename adds.

    Attributes:
        ended: The end of the old name.
        copies: What the model has been through, under the new name.
        begun: Where the model came from, under the new name.
    """

    ended: Event
    copies: tuple[Event, ...]
    begun: Event


def renaming(
    name: str,
    happened: Sequence[Event],
    new_name: str,
    there: Sequence[Event],
    *,
    actor: str | None,
    comment: str | None,
    at: dt.datetime,
) -> Renaming:
    """Rename a model.

    Args:
        name: Its name.
        happened: The events of that name.
        new_name: Its name from now on.
        there: The events of that one.
        actor: Who renames it.
        comment: Why, in the actor's words.
        at: When.

    Raises:
        NotFoundError: No such model.
        InvalidInputError: It has that name.
        ConflictError: See `rules.check_rename`.
    """
    state, target = fold(name, happened), fold(new_name, there)
    rules.check_rename(state, target)
    shift = target.last_seq + 1 - state.first_seq
    copies = tuple(_copied(e, new_name, shift) for e in happened if e.seq >= state.first_seq)
    ended = Change(Kind.MODEL_RENAMED, value=new_name)
    begun = Change(Kind.RENAMED_FROM, key=str(state.last_version), value=name)
    return Renaming(
        Event(name, state.last_seq + 1, ended, actor, comment, at),
        copies,
        Event(new_name, copies[-1].seq + 1, begun, actor, comment, at),
    )


def _copied(event: Event, name: str, shift: int) -> Event:
    change = event.change
    if change.kind in ABOUT_EVENTS and change.key is not None:
        change = replace(change, key=str(int(change.key) + shift))
    return replace(event, model_name=name, seq=event.seq + shift, change=change)
