"""Policies, requests and gates: who may move what where, and what must have passed before."""

from __future__ import annotations

import json
import threading

import pytest

from mlwarehouse.errors import (
    ConflictError,
    GateNotPassedError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
)
from mlwarehouse.registry import Policy, Registry


@pytest.fixture
def people(engine):
    """Somebody of each role, with a model of two versions that `dev` has registered."""
    made = {
        name: Registry(engine, actor=name, roles=roles)
        for name, roles in {
            "dev": ["developer"],
            "lead": ["approver", "developer"],
            "boss": ["approver"],
            "root": ["admin"],
        }.items()
    }
    for _ in range(2):
        made["dev"].create_model_version("prod-mood", source="runs:/r/m", run_id="r", digest=None)
    return made


PRODUCTION = Policy(
    "production", models="prod-*", stages=("Production",), aliases=("champion*",), movers=(), approvers=("approver",),
    four_eyes=True,
)  # fmt: skip


def audited(engine) -> list[tuple[str, str, str]]:
    rows = engine.query("SELECT actor, action, outcome FROM audit ORDER BY recorded_at, writer_id, writer_seq")
    return [tuple(row.values()) for row in rows.to_pylist()]


def test_without_a_policy_everybody_may(people):
    assert people["dev"].transition_model_version_stage("prod-mood", 1, "Production").current_stage == "Production"
    request = people["dev"].request_transition("prod-mood", 2, alias="champion")
    assert people["dev"].approve_request("prod-mood", request.request_id).status == "approved"


def test_only_admins_set_policies(people):
    with pytest.raises(PermissionDeniedError, match=r"`dev` \(roles: `developer`\) can't set policy `production`"):
        people["dev"].set_policy(PRODUCTION)
    people["root"].set_policy(PRODUCTION, comment="the board wants it")
    assert people["dev"].policies() == [PRODUCTION]
    with pytest.raises(NotFoundError, match="Did you mean `production`"):
        people["root"].remove_policy("prodution")
    people["root"].remove_policy("production")
    assert people["dev"].policies() == []
    for wrong in (
        Policy("nothing"),
        Policy("", stages=("Production",)),
        Policy("p", stages=("Prod",)),
        Policy("p", stages="Production"),
        Policy("p", stages=("Production",), movers="dev"),
        Policy("p", stages=("Production",), gates={"g": "SELECT unknown"}),
        Policy("p", stages=("Production",), gates={"g": "DROP TABLE audit"}),
        "p",
    ):
        with pytest.raises(InvalidInputError):
            people["root"].set_policy(wrong)
    assert people["dev"].policies() == []


def test_roles_and_numbers_are_what_they_are_given_as(people, engine):
    with pytest.raises(InvalidInputError, match="Roles are a list"):
        Registry(engine, actor="lea", roles="lead")
    request = people["dev"].request_transition("prod-mood", 1, stage="Staging")
    assert people["dev"].cancel_request("prod-mood", str(request.request_id)).status == "cancelled"
    for number in ("one", None, 1.5):
        with pytest.raises(InvalidInputError, match="A request is known by its number"):
            people["boss"].approve_request("prod-mood", number)


@pytest.mark.parametrize(
    "move",
    [
        lambda r: r.transition_model_version_stage("prod-mood", 1, "Production"),
        lambda r: r.set_model_alias("prod-mood", "champion", 1),
        lambda r: r.set_model_alias("prod-mood", "champion-eu", 1),
        lambda r: r.transition_model_version_stage("prod-mood", 2, "Archived"),
        lambda r: r.delete_model_alias("prod-mood", "champion"),
        lambda r: r.delete_model_version("prod-mood", 2),
        lambda r: r.delete_registered_model("prod-mood"),
        lambda r: r.rename_registered_model("prod-mood", "free-mood"),
        lambda r: r.bulk_register({"name": ["x", "prod-x"], "source": ["a", "b"], "stage": ["Staging", "Production"]},
                                  source_id="s"),
        lambda r: r.bulk_register({"name": ["prod-x"], "source": ["b"], "alias": ["champion"]}, source_id="s"),
    ],
)  # fmt: skip
def test_no_way_leads_around_a_policy(people, engine, move):
    people["dev"].transition_model_version_stage("prod-mood", 2, "Production")
    people["dev"].set_model_alias("prod-mood", "champion", 2)
    people["root"].set_policy(PRODUCTION)
    before = engine.query("SELECT count(*) AS n FROM registry_events").to_pylist()
    with pytest.raises(PermissionDeniedError, match="Policy `production` doesn't let `dev`"):
        move(people["dev"])
    assert engine.query("SELECT count(*) AS n FROM registry_events").to_pylist() == before
    assert audited(engine)[-1][0::2] == ("dev", "refused")
    # What it doesn't guard is free.
    people["dev"].transition_model_version_stage("prod-mood", 1, "Staging")
    people["dev"].set_model_alias("prod-mood", "candidate", 1)


def test_what_comes_back_comes_back_where_it_was(people):
    people["dev"].transition_model_version_stage("prod-mood", 2, "Production")
    people["dev"].delete_model_version("prod-mood", 2)
    people["dev"].create_model_version("old", source="x", run_id=None, digest=None)
    people["dev"].set_model_alias("old", "champion", 1)
    people["dev"].delete_registered_model("old")
    people["root"].set_policy(Policy("all", stages=("Production",), aliases=("champion",), movers=("approver",)))
    for back in (lambda r: r.restore_model_version("prod-mood", 2), lambda r: r.restore_registered_model("old")):
        with pytest.raises(PermissionDeniedError):
            back(people["dev"])
        back(people["boss"])


def test_a_request_is_approved_by_somebody_else(people, engine):
    people["root"].set_policy(PRODUCTION)
    request = people["lead"].request_transition("prod-mood", 1, stage="production", comment="ready")
    assert (request.status, request.stage, request.user_id, request.comment) == ("open", "Production", "lead", "ready")
    with pytest.raises(ConflictError, match=f"request {request.request_id} of `prod-mood` is open"):
        people["dev"].request_transition("prod-mood", 1, stage="Production")
    for who, said in {"dev": "doesn't let `dev`", "lead": "wants four eyes"}.items():
        with pytest.raises(PermissionDeniedError, match=said):
            people[who].approve_request("prod-mood", request.request_id)
    done = people["boss"].approve_request("prod-mood", request.request_id, comment="fine")
    assert (done.status, done.decided_by, done.decision_comment) == ("approved", "boss", "fine")
    assert people["dev"].get_model_version("prod-mood", 1).current_stage == "Production"
    with pytest.raises(ConflictError, match="was approved by `boss` already"):
        people["boss"].reject_request("prod-mood", request.request_id)
    outcomes = [row for row in audited(engine) if row[1] == "approve_request"]
    assert outcomes == [("dev", "approve_request", "refused"), ("lead", "approve_request", "refused"),
                        ("boss", "approve_request", "allowed")]  # fmt: skip


def test_requests_are_rejected_and_taken_back(people):
    people["root"].set_policy(PRODUCTION)
    first = people["dev"].request_transition("prod-mood", 1, stage="Production")
    second = people["dev"].request_transition("prod-mood", 2, alias="champion")
    with pytest.raises(PermissionDeniedError):
        people["dev"].reject_request("prod-mood", first.request_id)
    assert people["boss"].reject_request("prod-mood", first.request_id, comment="no").status == "rejected"
    with pytest.raises(PermissionDeniedError, match="is `dev`'s"):
        people["boss"].cancel_request("prod-mood", second.request_id)
    assert people["dev"].cancel_request("prod-mood", second.request_id).status == "cancelled"
    assert people["dev"].requests("prod-mood", "open") == []
    assert [r.status for r in people["dev"].requests("prod-mood")] == ["rejected", "cancelled"]
    with pytest.raises(NotFoundError, match="no request 99; open are none"):
        people["boss"].approve_request("prod-mood", 99)
    for wrong in ({}, {"stage": "Production", "alias": "champion"}):
        with pytest.raises(InvalidInputError, match="one of them"):
            people["dev"].request_transition("prod-mood", 1, **wrong)


def test_of_two_who_approve_at_once_one_is_told(people, engine):
    people["root"].set_policy(PRODUCTION)
    request = people["dev"].request_transition("prod-mood", 1, stage="Production")
    start, outcomes = threading.Barrier(2), []

    def approve(name: str) -> None:
        registry = Registry(engine, actor=name, roles=["approver"])
        start.wait()
        try:
            registry.approve_request("prod-mood", request.request_id)
            outcomes.append("approved")
        except ConflictError as told:
            outcomes.append(str(told))

    threads = [threading.Thread(target=approve, args=(name,)) for name in ("eva", "eli")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[1] == "approved"
    assert "was approved by" in sorted(outcomes)[0]
    assert [e.change.kind for e in people["dev"].history("prod-mood")].count("stage_set") == 1


def test_a_gate_must_have_passed_for_this_version(people, engine):
    asked = "SELECT $version = 2"
    people["root"].set_policy(
        Policy("p", stages=("Production",), gates={"second": asked, "by hand": None}, checkers=("approver",))
    )
    dev, boss = people["dev"], people["boss"]
    with pytest.raises(GateNotPassedError, match=r"gate `by hand` passed before .*, and it wasn't run"):
        dev.transition_model_version_stage("prod-mood", 2, "Production")
    assert not dev.run_gate("prod-mood", 1, "second").passed
    assert dev.run_gate("prod-mood", 2, "second").passed
    with pytest.raises(PermissionDeniedError, match=r"record gate `by hand`; `approver` may"):
        dev.run_gate("prod-mood", 2, "by hand", check=lambda v: True)
    result = boss.run_gate("prod-mood", 2, "by hand", check=lambda v: (v.version == 2, "looked at it"))
    assert (result.passed, result.detail, result.user_id) == (True, "looked at it", "boss")
    assert dev.transition_model_version_stage("prod-mood", 2, "Production").current_stage == "Production"
    assert [(g.gate, g.passed) for g in dev.gates("prod-mood", 2)] == [("by hand", True), ("second", True)]
    # The last result counts.
    boss.run_gate("prod-mood", 2, "by hand", check=lambda v: False)
    with pytest.raises(GateNotPassedError, match="it failed"):
        dev.transition_model_version_stage("prod-mood", 2, "Production")


def test_gates_that_can_not_be_meant_record_nothing(people, engine):
    people["root"].set_policy(
        Policy("p", stages=("Production",), gates={"rows": "SELECT 1 UNION ALL SELECT 2", "number": "SELECT 3",
                                                   "missing": "SELECT CAST(NULL AS BOOLEAN)"})
    )  # fmt: skip
    dev = people["dev"]
    before = len(dev.history("prod-mood"))
    for gate, check, said in (
        ("rows", None, "one value; it answered with 2 rows"),
        ("number", None, "true or false; it answered 3"),
        ("nubmer", None, "Did you mean `number`"),
        ("number", lambda v: True, "without check="),
    ):
        with pytest.raises(InvalidInputError, match=said):
            dev.run_gate("prod-mood", 1, gate, check=check)
    assert len(dev.history("prod-mood")) == before
    missing = dev.run_gate("prod-mood", 1, "missing")
    assert (missing.passed, missing.detail) == (False, "a value that it compares is missing")


def test_a_policy_that_comes_while_something_is_decided_is_heeded(people, engine, monkeypatch):
    append, came = engine.append, []

    def intrude(spec, rows, **given):
        if not came and spec.name == "registry_events":
            came.append(True)
            people["root"].set_policy(PRODUCTION)
        return append(spec, rows, **given)

    monkeypatch.setattr(engine, "append", intrude)
    with pytest.raises(PermissionDeniedError):
        people["dev"].transition_model_version_stage("prod-mood", 1, "Production")
    assert people["dev"].get_model_version("prod-mood", 1).current_stage == "None"


def test_policies_are_rows_and_no_models(people, engine):
    people["root"].set_policy(PRODUCTION, comment="why")
    [row] = engine.query("SELECT policy, rule, user_id, comment FROM registry_policies").to_pylist()
    assert (row["policy"], row["user_id"], row["comment"]) == ("production", "root", "why")
    assert json.loads(row["rule"])["movers"] == []
    assert [m.name for m in people["dev"].search_registered_models()] == ["prod-mood"]
    assert engine.query("SELECT name FROM registered_models").to_pylist() == [{"name": "prod-mood"}]
