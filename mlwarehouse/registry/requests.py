"""Transition requests and gates: rules of their own, as pure functions from state to changes."""

from __future__ import annotations

from collections.abc import Sequence

from mlwarehouse.entities import Stage
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError, PermissionDeniedError
from mlwarehouse.registry import rules
from mlwarehouse.registry.events import Change, Kind
from mlwarehouse.registry.fold import ModelState, RequestState
from mlwarehouse.registry.policies import Move

OPEN = "open"


def request(state: ModelState, *, version: int, stage: Stage | None, alias: str | None) -> Sequence[Change]:
    """Request that a version is moved to a stage or alias.

    Raises:
        InvalidInputError: Neither or both are named.
        NotFoundError: No such model or version.
        ConflictError: The same is requested already.
    """
    if (stage is None) == (alias is None):
        raise InvalidInputError("A transition is requested to a stage= or to an alias=, one of them.")
    rules.need_version(state, version)
    wanted = None if stage is None else stage.value
    for number, there in state.requests.items():
        if there.status == OPEN and (there.version, there.stage, there.alias) == (version, wanted, alias):
            raise ConflictError(
                f"`{there.user_id}` has requested the same: request {number} of `{state.name}` is open."
            )
    return (Change(Kind.TRANSITION_REQUESTED, version=version, stage=wanted, alias=alias),)


def moves(state: ModelState, found: RequestState) -> list[Move]:
    """The moves that approving a request makes."""
    there = state.versions.get(found.version)
    leaves = [] if there is None or found.stage is None else [Move(found.version, stage=there.stage, enters=False)]
    return [*leaves, Move(found.version, stage=found.stage, alias=found.alias)]


def approve(state: ModelState, *, number: int, archive_existing: bool) -> Sequence[Change]:
    """Approve a request, and do what it is for.

    Raises:
        NotFoundError: No such model, request or version.
        ConflictError: It was decided already.
        InvalidInputError: Archiving was asked for with an alias.
    """
    found = need_open(state, number)
    if found.alias is not None:
        if archive_existing:
            raise InvalidInputError("archive_existing_versions= is for stages; this request is for an alias.")
        done = rules.set_alias(state, alias=found.alias, version=found.version)
    else:
        stage = Stage(found.stage or Stage.NONE)
        done = rules.set_stage(state, version=found.version, stage=stage, archive_existing=archive_existing)
    return (*done, Change(Kind.REQUEST_APPROVED, key=str(number)))


def reject(state: ModelState, *, number: int) -> Sequence[Change]:
    """Reject a request.

    Raises:
        NotFoundError: No such model or request.
        ConflictError: It was decided already.
    """
    need_open(state, number)
    return (Change(Kind.REQUEST_REJECTED, key=str(number)),)


def cancel(state: ModelState, *, number: int, actor: str) -> Sequence[Change]:
    """Take one's own request back.

    Raises:
        NotFoundError: No such model or request.
        ConflictError: It was decided already.
        PermissionDeniedError: It is somebody else's.
    """
    found = need_open(state, number)
    if found.user_id != actor:
        raise PermissionDeniedError(f"Request {number} is `{found.user_id}`'s; `{actor}` can't cancel it.")
    return (Change(Kind.REQUEST_CANCELLED, key=str(number)),)


def record_gate(state: ModelState, *, version: int, gate: str, passed: bool) -> Sequence[Change]:
    """Record the result of a check.

    Raises:
        NotFoundError: No such model or version.
    """
    rules.need_version(state, version)
    return (Change(Kind.GATE_CHECKED, version=version, key=gate, value="passed" if passed else "failed"),)


def need_open(state: ModelState, number: int) -> RequestState:
    """A request that wasn't decided.

    Raises:
        NotFoundError: No such model or request.
        ConflictError: It was decided already.
    """
    found = rules.need_model(state).requests.get(number)
    if found is None:
        there = ", ".join(str(n) for n, r in state.requests.items() if r.status == OPEN) or "none"
        raise NotFoundError(f"Registered model `{state.name}` has no request {number}; open are {there}.")
    if found.status != OPEN:
        raise ConflictError(f"Request {number} of `{state.name}` was {found.status} by `{found.decided_by}` already.")
    return found
