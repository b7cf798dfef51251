"""Policies: who may move which models' versions where, and what must have been checked before.

A move is a version's way to a stage or an alias, or away from it. What a request would change tells which moves it
makes, so that nothing is overlooked, whatever the request is called. A move is allowed when every policy that covers it
allows it; where none does, everybody may.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import Any

from mlwarehouse.errors import GateNotPassedError, InvalidInputError, PermissionDeniedError, did_you_mean
from mlwarehouse.registry import names
from mlwarehouse.registry.events import Change, Event, Kind
from mlwarehouse.registry.fold import ModelState

STREAM = ":policies"
"""The name under which the events of policies stand; no model can have it."""

ADMIN = "admin"
"""The role of those who set policies."""


@dataclass(frozen=True)
class Policy:
    """A rule about moves of model versions.

    Attributes:
        name: Its name; setting another one of this name replaces it.
        models: The registered models it is about, with ``*`` and ``?`` as in file names.
        stages: The stages it guards.
        aliases: The aliases it guards, with ``*`` and ``?`` too.
        movers: Roles that may move versions there, and away; None means everybody, and empty means nobody: such moves
            are requested and approved.
        approvers: Roles that may approve and reject requests for such moves; None means everybody.
        four_eyes: Whether nobody may approve what they have requested or registered themselves.
        gates: Checks that must have passed for a version before it comes there: by name the question in SQL, or None
            for one that is done in Python.
        checkers: Roles that may record results of checks done in Python; None means everybody.
    """

    name: str
    models: str = "*"
    stages: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    movers: tuple[str, ...] | None = None
    approvers: tuple[str, ...] | None = None
    four_eyes: bool = False
    gates: Mapping[str, str | None] = field(default_factory=dict)
    checkers: tuple[str, ...] | None = None

    def covers(self, model: str, move: Move) -> bool:
        """Whether it has a say in a move."""
        if not fnmatchcase(model, self.models):
            return False
        if move.alias is not None:
            return any(fnmatchcase(move.alias, pattern) for pattern in self.aliases)
        return move.stage in self.stages

    def text(self) -> str:
        """The policy as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Read what `text` wrote; what a later release has added is left out."""
        found = json.loads(text)
        known: dict[str, Any] = {f.name: found[f.name] for f in fields(cls) if f.name in found}
        known |= {k: tuple(v) for k, v in known.items() if isinstance(v, list)}
        return cls(**known)


@dataclass(frozen=True)
class Move:
    """A version's way to a stage or alias, or away from it.

    Attributes:
        version: The version; None for one that is being registered.
        stage: The stage, unless it is about an alias.
        alias: The alias.
        enters: Whether it comes there; False when it leaves.
    """

    version: int | None
    stage: str | None = None
    alias: str | None = None
    enters: bool = True

    def __str__(self) -> str:
        where = f"alias `{self.alias}`" if self.alias is not None else f"stage {self.stage}"
        return f"{'to' if self.enters else 'away from'} {where}"


@dataclass(frozen=True)
class Actor:
    """Who asks.

    Attributes:
        name: The name that is written beside changes.
        roles: What they may act as.
    """

    name: str
    roles: frozenset[str] = frozenset()

    def has_any(self, wanted: Sequence[str] | None) -> bool:
        """Whether they have one of some roles; None stands for everybody."""
        return wanted is None or not self.roles.isdisjoint(wanted)

    def __str__(self) -> str:
        said = ", ".join(f"`{role}`" for role in sorted(self.roles)) or "none"
        return f"`{self.name}` (roles: {said})"


def policies_of(events: Iterable[Event]) -> tuple[Policy, ...]:
    """The policies that there are, by name."""
    found: dict[str, Policy] = {}
    for event in sorted(events, key=lambda e: e.seq):
        name = event.change.key or ""
        if event.change.kind is Kind.POLICY_SET:
            found[name] = Policy.parse(event.change.value or "{}")
        elif event.change.kind is Kind.POLICY_REMOVED:
            found.pop(name, None)
    return tuple(found[name] for name in sorted(found))


def check_policy(policy: Policy) -> Policy:
    """Check a policy, with its stages in their own spelling.

    Raises:
        InvalidInputError: It has no name, guards nothing, or something in it can't be.
    """
    if not isinstance(policy, Policy):
        raise InvalidInputError(f"A policy is a `Policy`; got {type(policy).__name__}.")
    if not policy.name.strip():
        raise InvalidInputError("A policy needs a name.")
    for word in ("stages", "aliases", "movers", "approvers", "checkers"):
        value = getattr(policy, word)
        if isinstance(value, str) or (value is not None and not all(isinstance(v, str) and v for v in value)):
            raise InvalidInputError(f"`{word}` of policy `{policy.name}` must be a list of texts; got {value!r}.")
    if not policy.stages and not policy.aliases:
        raise InvalidInputError(f"Policy `{policy.name}` guards nothing; name stages= or aliases=.")
    return replace(
        policy,
        stages=tuple(names.stage_named(stage).value for stage in policy.stages),
        aliases=tuple(policy.aliases),
        movers=None if policy.movers is None else tuple(policy.movers),
        approvers=None if policy.approvers is None else tuple(policy.approvers),
        gates=dict(policy.gates),
        checkers=None if policy.checkers is None else tuple(policy.checkers),
    )


def moves_of(state: ModelState, changes: Sequence[Change]) -> list[Move]:
    """The moves that changes of a model make.

    What a promotion archives to make room isn't one: whoever may promote may do that.
    """
    moves: list[Move] = []
    first = changes[0] if changes else None
    makes_room = first is not None and first.kind is Kind.STAGE_SET
    for change in changes:
        kind, version = change.kind, change.version or 0
        if kind is Kind.STAGE_SET and not (makes_room and change is not first):
            before = state.versions.get(version)
            if before is not None and before.stage != change.stage:
                moves.append(Move(version, stage=before.stage, enters=False))
            moves.append(Move(version, stage=change.stage))
        elif kind is Kind.ALIAS_SET:
            moves.append(Move(version, alias=change.alias))
        elif kind is Kind.ALIAS_DELETED:
            moves.append(Move(version, alias=change.alias, enters=False))
        elif kind is Kind.VERSION_DELETED:
            moves += _moves_of(state, [version], enters=False)
        elif kind in (Kind.MODEL_DELETED, Kind.MODEL_RENAMED):
            moves += moves_of_all(state, enters=False)
        elif kind is Kind.VERSION_RESTORED and version in state.deleted:
            moves.append(Move(version, stage=state.deleted[version].stage))
        elif kind is Kind.MODEL_RESTORED and state.before is not None:
            moves += moves_of_all(state.before, enters=True)
    return moves


def moves_of_all(state: ModelState, *, enters: bool) -> list[Move]:
    """The moves of all that a model has, to or away from where it is."""
    return _moves_of(state, state.versions, enters=enters)


def _moves_of(state: ModelState, versions: Iterable[int], *, enters: bool) -> list[Move]:
    moves = [Move(v, stage=state.versions[v].stage, enters=enters) for v in versions]
    wanted = set(versions)
    return moves + [Move(v, alias=a, enters=enters) for a, v in state.aliases.items() if v in wanted]


def guard(
    policies: Sequence[Policy], state: ModelState, moves: Sequence[Move], actor: Actor, *, requester: str | None = None
) -> None:
    """Refuse moves that a policy doesn't allow.

    Args:
        policies: All there are.
        state: The model.
        moves: What is to be done.
        actor: Who does it.
        requester: Who has requested it, when it is an approval; None when it is done directly.

    Raises:
        PermissionDeniedError: The actor may not do it.
        GateNotPassedError: A check hasn't passed for the version.
    """
    for move in moves:
        for policy in policies:
            if not policy.covers(state.name, move):
                continue
            which = "a new version" if move.version is None else f"version {move.version}"
            said = f"moving {which} of `{state.name}` {move}"
            if requester is None and not actor.has_any(policy.movers):
                raise PermissionDeniedError(
                    f"Policy `{policy.name}` doesn't let {actor} do it: {said} is for {_roles(policy.movers)}; "
                    "request it by `request_transition`."
                )
            if requester is not None and not actor.has_any(policy.approvers):
                raise PermissionDeniedError(
                    f"Policy `{policy.name}` doesn't let {actor} decide on {said}; {_roles(policy.approvers)} may."
                )
            made_by = state.versions[move.version].user_id if move.version in state.versions else None
            if requester is not None and policy.four_eyes and actor.name in (requester, made_by):
                raise PermissionDeniedError(
                    f"Policy `{policy.name}` wants four eyes for {said}, and `{actor.name}` has requested it, or "
                    "registered the version; somebody else must decide."
                )
            for gate in policy.gates if move.enters else ():
                result = None if move.version is None else state.gates.get((move.version, gate))
                if result is None or not result.passed:
                    found = "wasn't run" if result is None else f"failed ({result.detail or 'without a word'})"
                    raise GateNotPassedError(
                        f"Policy `{policy.name}` wants gate `{gate}` passed before {said}, and it {found}; run it by "
                        f"`run_gate('{state.name}', {move.version}, '{gate}')`."
                    )


def need_admin(actor: Actor, what: str) -> None:
    """Refuse what only the role `admin` may do.

    Raises:
        PermissionDeniedError: The actor lacks it.
    """
    if ADMIN not in actor.roles:
        raise PermissionDeniedError(
            f"{actor} can't {what}: that takes the role `{ADMIN}`, as by MLWAREHOUSE_ROLES={ADMIN} or `registry_as`."
        )


def gate_question(policies: Sequence[Policy], model: str, gate: str, actor: Actor, *, has_check: bool) -> str | None:
    """The SQL of a gate; None for one that is done in Python.

    Raises:
        InvalidInputError: A check is given and the policy has one, or none of them has one.
        PermissionDeniedError: The actor may not record results of this gate.
    """
    having = [p for p in policies if gate in p.gates and fnmatchcase(model, p.models)]
    questions = {p.gates[gate] for p in having} - {None}
    if questions and has_check:
        raise InvalidInputError(f"Gate `{gate}` of `{model}` is a question in SQL of policy `{having[0].name}`; run it "
                                "without check=.")  # fmt: skip
    if not questions and not has_check:
        known = sorted({g for p in policies if fnmatchcase(model, p.models) for g in p.gates})
        raise InvalidInputError(
            f"No policy has a question for gate `{gate}` of `{model}`; pass check=, a function of the model version."
            f"{did_you_mean(gate, known)}"
        )
    for policy in having:
        if has_check and not actor.has_any(policy.checkers):
            raise PermissionDeniedError(
                f"Policy `{policy.name}` doesn't let {actor} record gate `{gate}`; {_roles(policy.checkers)} may."
            )
    if len(questions) > 1:
        raise InvalidInputError(f"Policies ask different questions for gate `{gate}` of `{model}`; call one otherwise.")
    return next(iter(questions), None)


def _roles(roles: Sequence[str] | None) -> str:
    return " or ".join(f"`{role}`" for role in roles or ()) or "nobody"
