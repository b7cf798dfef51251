"""Policies, transition requests and gates: what the registry lets happen to a version, and who decided it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import GateResult, ModelVersion, TransitionRequest
from mlwarehouse.errors import InvalidInputError, NotFoundError, did_you_mean
from mlwarehouse.registry import names, requests, rules
from mlwarehouse.registry.events import Change, Kind
from mlwarehouse.registry.fold import ModelState
from mlwarehouse.registry.ledger import Ledger
from mlwarehouse.registry.policies import Policy, check_policy, gate_question, guard, need_admin

Check = Callable[[ModelVersion], bool | tuple[bool, str]]
"""Whether a version passes; with a text, what was found."""


class Governed:
    """Decisions about moves of versions. Threads may share it."""

    _engine: Engine
    _reading: Reading | None
    _ledger: Ledger
    _present: Callable[[], Reading] | None

    def policies(self) -> list[Policy]:
        """The policies that there are, by name."""
        return list(self._ledger.policies()[1])

    def set_policy(self, policy: Policy, comment: str | None = None) -> None:
        """Set a policy, in the place of one of its name. It holds for every decision that is made behind it.

        Args:
            policy: The policy.
            comment: Why, in the actor's words.

        Raises:
            InvalidInputError: It guards nothing, or something in it can't be, such as a question that isn't SQL.
            PermissionDeniedError: The actor lacks the role `admin`.
        """
        checked = check_policy(policy)
        for question in filter(None, checked.gates.values()):
            # So that what can't be asked is found now, and not when somebody waits for the gate.
            given = {k: v for k, v in {"name": "", "version": 0, "run_id": ""}.items() if f"${k}" in question}
            self._engine.query(f"SELECT * FROM ({question}) AS gate WHERE FALSE", parameters=given)

        def decide(_: tuple[Policy, ...]) -> Change:
            need_admin(self._ledger.actor, f"set policy `{checked.name}`")
            return Change(Kind.POLICY_SET, key=checked.name, value=checked.text())

        detail = {"policy": checked.text(), "comment": comment}
        self._ledger.change_policies("set_policy", checked.name, decide, detail)

    def remove_policy(self, name: str, comment: str | None = None) -> None:
        """Remove a policy.

        Raises:
            NotFoundError: There is none of this name.
            PermissionDeniedError: The actor lacks the role `admin`.
        """

        def decide(policies: tuple[Policy, ...]) -> Change:
            need_admin(self._ledger.actor, f"remove policy `{name}`")
            there = [p.name for p in policies]
            if name not in there:
                raise NotFoundError(f"There is no policy `{name}`.{did_you_mean(name, there)}")
            return Change(Kind.POLICY_REMOVED, key=name)

        self._ledger.change_policies("remove_policy", name, decide, {"comment": comment})

    def request_transition(
        self,
        name: str,
        version: int | str,
        *,
        stage: str | None = None,
        alias: str | None = None,
        comment: str | None = None,
    ) -> TransitionRequest:
        """Request that a version is moved to a stage or alias, for somebody who may to decide.

        Args:
            name: The registered model.
            version: The version.
            stage: The stage, unless it is an alias.
            alias: The alias.
            comment: Why, in the actor's words.

        Raises:
            InvalidInputError: Neither or both are named, or one can't be.
            NotFoundError: No such model or version.
            ConflictError: The same is requested already.
        """
        number = names.version_number(version)
        wanted = None if stage is None else names.stage_named(stage)
        alias = None if alias is None else names.alias_name(alias)
        decide = partial(requests.request, version=number, stage=wanted, alias=alias)
        arguments = {"stage": None if wanted is None else wanted.value, "alias": alias}
        state = self._ledger.change(
            "request_transition", names.model_name(name), number, decide, arguments, comment, judge=_anybody
        )
        return state.request(state.last_seq)

    def approve_request(
        self, name: str, request_id: int, comment: str | None = None, archive_existing_versions: bool = False
    ) -> TransitionRequest:
        """Approve a request, which moves the version in the same commit.

        Args:
            name: The registered model.
            request_id: The request.
            comment: Why, in the actor's words.
            archive_existing_versions: As for `Registry.transition_model_version_stage`.

        Raises:
            NotFoundError: No such model or request, or the version is gone.
            ConflictError: It was decided already: of two who decide at once, one is told.
            PermissionDeniedError: The actor may not approve it.
            GateNotPassedError: A check that a policy wants hasn't passed.
        """
        request_id = names.event_number(request_id, "request")
        decide = partial(requests.approve, number=request_id, archive_existing=archive_existing_versions)
        return self._decided("approve_request", name, request_id, decide, comment)

    def reject_request(self, name: str, request_id: int, comment: str | None = None) -> TransitionRequest:
        """Reject a request; the version stays where it is.

        Raises:
            NotFoundError: No such model or request.
            ConflictError: It was decided already.
            PermissionDeniedError: The actor may not decide on it.
        """
        request_id = names.event_number(request_id, "request")
        return self._decided(
            "reject_request", name, request_id, partial(requests.reject, number=request_id), comment, is_move=False
        )

    def cancel_request(self, name: str, request_id: int, comment: str | None = None) -> TransitionRequest:
        """Take one's own request back.

        Raises:
            NotFoundError: No such model or request.
            ConflictError: It was decided already.
            PermissionDeniedError: It is somebody else's.
        """
        request_id = names.event_number(request_id, "request")
        decide = partial(requests.cancel, number=request_id, actor=self._ledger.actor.name)
        arguments = {"request_id": request_id}
        state = self._ledger.change(
            "cancel_request", names.model_name(name), None, decide, arguments, comment, judge=_anybody
        )
        return state.request(request_id)

    def requests(self, name: str, status: str | None = None) -> list[TransitionRequest]:
        """The transition requests of a model, oldest first.

        Args:
            name: The registered model.
            status: Only those that are ``open``, ``approved``, ``rejected`` or ``cancelled``; None for all.

        Raises:
            NotFoundError: No such model.
        """
        state = self._ledger.state(names.model_name(name))
        return [state.request(n) for n, r in sorted(state.requests.items()) if status is None or r.status == status]

    def run_gate(
        self, name: str, version: int | str, gate: str, *, check: Check | None = None, comment: str | None = None
    ) -> GateResult:
        """Run a check for a version, and record what came of it.

        Args:
            name: The registered model.
            version: The version.
            gate: The check's name, as policies have it.
            check: A function of the version that says whether it passes, or that and what it found; None when a policy
                has a question for the gate. That is one `SELECT` of one value, true for passed, over the warehouse's
                tables and views, with the marks ``$name``, ``$version`` and ``$run_id``.
            comment: Recorded with the result, in place of what the check found.

        Raises:
            InvalidInputError: There is no such question, or a function and a question; or the answer isn't one.
            NotFoundError: No such model or version.
            PermissionDeniedError: The actor may not record results of this gate.
        """
        name, number = names.model_name(name), names.version_number(version)
        state = self._ledger.state(name)
        rules.need_version(state, number)
        found = state.model_version(number)
        actor = self._ledger.actor
        question = gate_question(self._ledger.policies()[1], name, gate, actor, has_check=check is not None)
        if check is not None:
            answer = check(found)
        else:
            assert question is not None
            answer = self._answer(question, found, gate)
        passed, said = answer if isinstance(answer, tuple) else (answer, None)
        if not isinstance(passed, bool):
            raise InvalidInputError(f"Gate `{gate}` must answer with true or false; it answered {passed!r}.")

        def judge(policies: tuple[Policy, ...], _: ModelState) -> None:
            if gate_question(policies, name, gate, actor, has_check=check is not None) != question:
                raise InvalidInputError(f"Gate `{gate}` was given another question while it ran; run it again.")

        decide = partial(requests.record_gate, version=number, gate=gate, passed=passed)
        arguments = {"gate": gate, "passed": passed}
        state = self._ledger.change("run_gate", name, number, decide, arguments, comment or said, judge=judge)
        return state.gate(number, gate)

    def gates(self, name: str, version: int | str) -> list[GateResult]:
        """The last results of all checks for a version, by name.

        Raises:
            NotFoundError: No such model or version.
        """
        state, number = self._ledger.state(names.model_name(name)), names.version_number(version)
        rules.need_version(state, number)
        return [state.gate(v, g) for v, g in sorted(state.gates) if v == number]

    def _answer(self, question: str, version: ModelVersion, gate: str) -> Any:
        given = {"name": version.name, "version": version.version, "run_id": version.run_id}
        reading = None if self._present is None else self._present()
        # Only the marks that are there: others would be refused.
        parameters = {k: v for k, v in given.items() if f"${k}" in question}
        rows = self._engine.query(question, reading=reading, parameters=parameters)
        if rows.num_columns != 1 or rows.num_rows != 1:
            raise InvalidInputError(
                f"Gate `{gate}` must answer with one value; it answered with {rows.num_rows} rows of "
                f"{rows.num_columns} columns."
            )
        value = rows.column(0)[0].as_py()
        # NULL is what a comparison with a missing metric gives.
        return (False, "a value that it compares is missing") if value is None else value

    def _decided(
        self,
        action: str,
        name: str,
        request_id: int,
        decide: Callable[[ModelState], Any],
        comment: str | None,
        *,
        is_move: bool = True,
    ) -> TransitionRequest:
        def judge(policies: tuple[Policy, ...], state: ModelState) -> None:
            found = state.requests[request_id]
            moves = requests.moves(state, found)
            if not is_move:
                # Nothing comes anywhere, so no check need have passed.
                moves = [replace(move, enters=False) for move in moves]
            guard(policies, state, moves, self._ledger.actor, requester=found.user_id or "")

        arguments = {"request_id": request_id}
        state = self._ledger.change(action, names.model_name(name), None, decide, arguments, comment, judge=judge)
        return state.request(request_id)


def _anybody(policies: tuple[Policy, ...], state: ModelState) -> None:
    """What moves nothing is for everybody."""
