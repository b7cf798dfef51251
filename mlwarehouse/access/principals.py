"""Who asks, and what they may do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from mlwarehouse.access.needs import LADDER, Role

EVERYTHING = "*"
"""The object of a role that holds everywhere."""

EXPERIMENTS = "experiments/"
MODELS = "models/"
"""What the other objects begin with, before an experiment's id or a registered model's name."""


@dataclass(frozen=True)
class Right:
    """A role on something.

    Attributes:
        role: A role of the ladder, or one that policies of the registry name.
        object: What it is for; see the table `access_events`.
    """

    role: str
    object: str = EVERYTHING

    def covers(self, thing: str) -> bool:
        """Whether it is for a thing: ``*``, ``experiments/<id>`` or ``models/<name>``."""
        if self.object in (EVERYTHING, thing):
            return True
        return thing.startswith(MODELS) and self.object.startswith(MODELS) and fnmatchcase(thing, self.object)


@dataclass(frozen=True)
class Principal:
    """Somebody who asks, as they are known.

    Attributes:
        name: The name that is written beside changes.
        rights: What they may do.
        bound: The most that they may do with the token that they came with; None for no bound.
        token_id: That token; None where they came otherwise.
    """

    name: str
    rights: frozenset[Right] = frozenset()
    bound: Role | None = None
    token_id: str | None = None
    _levels: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    def level(self, thing: str) -> int:
        """How far up the ladder they are on a thing; 0 for not at all."""
        if thing not in self._levels:
            if len(self._levels) > 10_000:
                self._levels.clear()
            most = LADDER.index(self.bound) if self.bound else len(LADDER)
            has = max((_step(right.role) for right in self.rights if right.covers(thing)), default=0)
            self._levels[thing] = min(most, has)
        return self._levels[thing]

    def may(self, role: Role, thing: str = EVERYTHING) -> bool:
        """Whether they have a role on a thing, or one above it."""
        return self.level(thing) >= LADDER.index(role)

    def may_read_experiment(self, experiment_id: str) -> bool:
        """Whether they may read an experiment with all its runs."""
        return self.may("reader", EXPERIMENTS + experiment_id)

    def may_read_model(self, name: str) -> bool:
        """Whether they may read a registered model."""
        return self.may("reader", MODELS + name)

    @property
    def has_any(self) -> bool:
        """Whether they may read anything at all."""
        return any(_step(right.role) for right in self.rights)

    def roles(self, thing: str = EVERYTHING) -> frozenset[str]:
        """What they may act as on a thing under policies of the registry."""
        own = frozenset() if self.bound else frozenset(r.role for r in self.rights if not _step(r.role))
        return own | frozenset(LADDER[1 : self.level(thing) + 1])


def _step(role: str) -> int:
    return LADDER.index(role) if role in LADDER else 0


_acting: ContextVar[Principal | None] = ContextVar("acting", default=None)


def acting() -> Principal | None:
    """In whose name this thread, or task, works; None where nobody is asked for a name: everything is allowed then."""
    return _acting.get()


def readable(experiment_ids: Iterable[str]) -> list[str]:
    """Those of some experiments that whoever asks may read, each once."""
    who = acting()
    return [e for e in dict.fromkeys(experiment_ids) if who is None or who.may_read_experiment(e)]


@contextmanager
def acting_as(principal: Principal | None) -> Iterator[None]:
    """Work in somebody's name."""
    before = _acting.set(principal)
    try:
        yield
    finally:
        _acting.reset(before)
