"""Webhooks from end to end: rows, the change feed, the outbox, and a real receiver."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import fields

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    SnapshotGoneError,
    StorageError,
)
from mlwarehouse.parts import delivering
from mlwarehouse.registry import Policy, Registry
from mlwarehouse.registry.webhooks import EVENTS
from mlwarehouse.registry.webhooks.deliverer import MAX_TRIES, Deliverer
from mlwarehouse.registry.webhooks.outbox import FILE, LOCK, Delivery, Outbox
from mlwarehouse.registry.webhooks.signing import signature_of

SECRET = "correct horse battery staple"
ALL = [event.name for event in EVENTS]


def hook(warehouse, receiver, name="ci", events=ALL, **more):
    return warehouse.create_webhook(name, receiver.url, events, allow_private=True, allow_http=True, **more)


def version(warehouse, name="mood", **more):
    return warehouse.registry.create_model_version(name, source="runs:/r/model", run_id="r", digest=None, **more)


def poke(warehouse, sql, *given):
    """Ask the outbox's file, or change it, past its class."""
    with closing(sqlite3.connect(warehouse.root / "_webhooks" / FILE)) as db, db:
        return db.execute(sql, given).fetchall()


def test_everything_that_happens_to_a_model_is_told_in_order(warehouse, receiver):
    hook(warehouse, receiver, secret=SECRET)
    registry = warehouse.registry
    version(warehouse, description="the first", tags={"lang": "en"}, comment="trained on Monday")
    registry.transition_model_version_stage("mood", 1, "Staging")
    registry.set_model_alias("mood", "champion", 1)
    registry.delete_model_alias("mood", "champion")
    registry.set_model_version_tag("mood", 1, "checked", "yes")
    registry.set_model_version_tag("mood", 1, "checked", None)
    registry.set_registered_model_tag("mood", "team", "nlp")
    requests = [registry.request_transition("mood", 1, stage=s).request_id for s in ("Production", "Archived", "None")]
    registry.approve_request("mood", requests[0])
    registry.reject_request("mood", requests[1])
    registry.cancel_request("mood", requests[2])
    registry.run_gate("mood", 1, "accurate", check=lambda v: (True, "fine"))
    registry.run_gate("mood", 1, "accurate", check=lambda v: (False, "0.87 < 0.9"))
    done = warehouse.deliver_webhooks()
    assert done.n_waiting == 0
    assert {d.state for d in done.deliveries} == {"delivered"}
    told = [(event, r.told["data"]) for event, r in zip(receiver.events(), receiver.requests, strict=True)]
    mood, request = {"name": "mood", "version": "1"}, {"name": "mood", "version": "1", "alias": None}
    tags = {"lang": "en"}
    assert told == [
        ("registered_model.created", {"name": "mood", "tags": {"team": "nlp"}, "description": None}),
        (
            "model_version.created",
            {**mood, "source": "runs:/r/model", "run_id": "r", "tags": tags, "description": "the first"},
        ),
        ("model_version_tag.set", {**mood, "key": "lang", "value": "en"}),
        ("model_version_stage.set", {**mood, "stage": "Staging"}),
        ("model_version_alias.created", {**mood, "alias": "champion"}),
        ("model_version_alias.deleted", {"name": "mood", "alias": "champion"}),
        ("model_version_tag.set", {**mood, "key": "checked", "value": "yes"}),
        ("model_version_tag.deleted", {**mood, "key": "checked"}),
        *(
            ("transition_request.created", {**request, "request_id": n, "stage": stage})
            for n, stage in zip(requests, ("Production", "Archived", "None"), strict=True)
        ),
        ("model_version_stage.set", {**mood, "stage": "Production"}),
        ("transition_request.approved", {**request, "request_id": requests[0], "stage": "Production"}),
        ("transition_request.rejected", {**request, "request_id": requests[1], "stage": "Archived"}),
        ("transition_request.cancelled", {**request, "request_id": requests[2], "stage": "None"}),
        ("gate.failed", {**mood, "gate": "accurate", "detail": "0.87 < 0.9"}),
    ]
    first = receiver.requests[1]
    assert (first.told["actor"], first.told["comment"], first.told["seq"]) == ("ada", "trained on Monday", 2)
    assert len({r.delivery_id for r in receiver.requests}) == len(receiver.requests)
    for request in receiver.requests:
        made = signature_of(SECRET, request.delivery_id, request.headers["X-MLflow-Timestamp"], request.body)
        assert request.headers["X-MLflow-Signature"] == made
    assert warehouse.deliver_webhooks().deliveries == (), "nothing is told twice"


def test_what_mlflow_also_tells_has_its_shape(warehouse, receiver):
    from mlflow.entities.webhook import WebhookAction, WebhookEntity
    from mlflow.webhooks.types import EVENT_TO_PAYLOAD_CLASS

    shared = {
        f"{entity.value}.{action.value}": set(payload.__annotations__)
        for (entity, action), payload in EVENT_TO_PAYLOAD_CLASS.items()
        if not entity.value.startswith(("prompt", "budget"))
    }
    assert {event.name: set(event.example) for event in EVENTS if event.name in shared} == shared
    assert {WebhookEntity.MODEL_VERSION.value, WebhookAction.CREATED.value} == {"model_version", "created"}
    made = hook(warehouse, receiver)
    for event in ALL:
        assert warehouse.test_webhook("ci", event).success
    version(warehouse)
    warehouse.deliver_webhooks()
    examples = {event: r.told for event, r in zip(receiver.events(), receiver.requests[: len(ALL)], strict=False)}
    for event, request in zip(receiver.events(), receiver.requests, strict=True):
        assert {"entity", "action", "timestamp", "data"} <= set(request.told)
        assert set(request.told["data"]) == set(examples[event]["data"])
    assert made.is_signed is False


def test_a_webhook_is_told_of_its_models_and_events_since_it_was_made(warehouse, receiver):
    version(warehouse, "early")
    hook(warehouse, receiver, events=["model_version.created"], models="mood-*")
    version(warehouse, "mood-1")
    version(warehouse, "other")
    warehouse.deliver_webhooks()
    warehouse.update_webhook("ci", status="DISABLED")
    version(warehouse, "mood-2")
    warehouse.deliver_webhooks()
    warehouse.update_webhook("ci", status="ACTIVE", models="*", events=["registered_model.created"])
    version(warehouse, "mood-3")
    warehouse.deliver_webhooks()
    assert [r.told["data"]["name"] for r in receiver.requests] == ["mood-1", "mood-3"]
    assert receiver.events() == ["model_version.created", "registered_model.created"]


def test_one_that_is_there_is_told_what_a_clock_that_is_behind_recorded(warehouse, receiver):
    hook(warehouse, receiver, events=["model_version.created"])
    warehouse.deliver_webhooks()
    behind = Registry(warehouse.engine(), actor="bo", clock=lambda: dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    behind.create_model_version("mood", source="runs:/r/m", run_id=None, digest=None)
    warehouse.deliver_webhooks()
    assert receiver.events() == ["model_version.created"]


def test_a_receiver_that_fails_is_tried_again_with_longer_and_longer_pauses(tmp_path, warehouse, receiver):
    webhook = hook(warehouse, receiver, secret=SECRET)
    answers = itertools.chain([500, 429, 503], itertools.repeat(200))
    receiver.answer = lambda handler, request: next(answers)
    clock = [int(time.time()) + 10.0]
    outbox = Outbox(tmp_path / "box")
    outbox.keep_secret(webhook.webhook_id, SECRET)
    outbox.add([Delivery("d-1", webhook.webhook_id, "gate.failed", "mood", b"{}")])
    deliverer = Deliverer(outbox, clock=lambda: clock[0], chance=lambda: 0.5)
    times = []
    while len(times) < 4:
        deliverer.begin([webhook])
        deliverer.wait()
        tried = deliverer.tried()
        times += [clock[0]] * len(tried)
        clock[0] += 0.25
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses == [0.75, 1.5, 3.0], "three quarters of 1, 2 and 4 seconds"
    [last] = tried
    assert (last.state, last.tries) == ("delivered", 4)
    assert {r.delivery_id for r in receiver.requests} == {"d-1"}
    assert len({r.headers["X-MLflow-Timestamp"] for r in receiver.requests}) > 1, "each try is signed anew"
    assert outbox.counts() == {(webhook.webhook_id, "delivered"): 1}
    deliverer.close()
    outbox.close()


def test_what_isnt_taken_in_the_end_is_a_row_and_can_be_tried_again(warehouse, receiver):
    hook(warehouse, receiver, events=["model_version.created"])
    receiver.answer = lambda handler, request: 404
    version(warehouse)
    [given_up] = warehouse.deliver_webhooks().deliveries
    assert (given_up.state, given_up.tries, given_up.reason) == ("failed", 1, "the receiver answered 404")
    [row] = warehouse.sql("SELECT * FROM webhooks", output_format="arrow").to_pylist()
    assert (row["n_failed"], json.loads(row["last_failure"])["delivery_id"]) == (1, given_up.delivery_id)
    [told] = warehouse.changes(kinds=["webhook_failed"])
    assert json.loads(told.value)["model"] == "mood"
    [found] = warehouse.list_webhooks()
    assert (found.n_failed, found.last_failure) == (1, "the receiver answered 404")
    assert any("webhooks deliver --failed" in problem for problem in warehouse.doctor().problems)
    assert warehouse.deliver_webhooks().deliveries == ()
    receiver.answer = lambda handler, request: 200
    [taken] = warehouse.deliver_webhooks(failed=True).deliveries
    assert (taken.state, taken.delivery_id) == ("delivered", given_up.delivery_id)
    assert warehouse.doctor().problems == ()
    assert warehouse.list_webhooks()[0].n_failed == 1, "what happened stays"


def test_after_the_last_try_a_delivery_is_given_up(warehouse, receiver):
    hook(warehouse, receiver, events=["model_version.created"])
    receiver.answer = lambda handler, request: 503
    version(warehouse)
    for n in range(1, MAX_TRIES + 1):
        if n > 1:
            poke(warehouse, "UPDATE deliveries SET next_at = 0")
        [tried] = warehouse.deliver_webhooks().deliveries
        assert (tried.tries, tried.state) == (n, "failed" if n == MAX_TRIES else "waiting")
    assert warehouse.list_webhooks()[0].n_failed == 1


def test_a_failing_receiver_costs_others_nothing(warehouse, receiver):
    hook(warehouse, receiver, "good", ["model_version.created"])
    warehouse.create_webhook(
        "bad", "http://127.0.0.1:9/", ["model_version.created"], allow_private=True, allow_http=True
    )
    for _ in range(3):
        version(warehouse)
    done = warehouse.deliver_webhooks()
    assert len(receiver.requests) == 3
    assert done.n_waiting == 3
    # One failure is enough for now.
    assert [d.state for d in done.deliveries].count("waiting") == 1


DELIVER = """
import sys, mlwarehouse
for _ in mlwarehouse.Warehouse(sys.argv[1], committer="off").follow_webhooks(poll_s=0.01):
    pass
"""


def test_a_deliverer_that_is_killed_leaves_nothing_out(warehouse, receiver):
    hook(warehouse, receiver, events=["model_version.created"])
    registry = warehouse.registry
    registry.bulk_register({"name": ["mood"] * 60, "source": ["runs:/r/m"] * 60}, source_id="many")
    fates = iter([7, 23, 41])
    fate = next(fates)
    victims = []

    def answer(handler, request):
        nonlocal fate
        if len({r.delivery_id for r in receiver.requests}) == fate:
            fate = next(fates, None)
            victims[-1].send_signal(signal.SIGKILL)
        return 200

    receiver.answer = answer
    for kills in range(4):
        victims.append(subprocess.Popen([sys.executable, "-c", DELIVER, str(warehouse.root)]))
        if kills < 3:
            assert victims[-1].wait(120) == -signal.SIGKILL
    deadline = time.monotonic() + 120
    while len({r.delivery_id for r in receiver.requests}) < 60:
        assert time.monotonic() < deadline
        assert victims[-1].poll() is None
        time.sleep(0.02)
    with pytest.raises(ConflictError, match="Another process delivers"):
        warehouse.deliver_webhooks()
    victims[-1].kill()
    victims[-1].wait()
    # The last one may have died before it wrote down that the 60th was answered.
    assert len(warehouse.deliver_webhooks().deliveries) <= 1
    bodies: dict[str, set[bytes]] = {}
    for request in receiver.requests:
        bodies.setdefault(request.delivery_id, set()).add(request.body)
    assert {len(same) for same in bodies.values()} == {1}, "a repeat is the same to the byte"
    versions = sorted(int(json.loads(body)["data"]["version"]) for (body,) in bodies.values())
    assert versions == list(range(1, 61))
    # Only what was under way when it was killed is told again.
    assert len(receiver.requests) <= 60 + 4
    assert warehouse.deliver_webhooks().deliveries == ()


def test_a_page_that_is_broken_off_is_taken_in_again(warehouse, receiver, monkeypatch):
    hook(warehouse, receiver, events=["model_version.created"])
    warehouse.deliver_webhooks()
    for _ in range(6):
        version(warehouse)
    with monkeypatch.context() as patched:
        patched.setattr(delivering, "CHANGES_AT_ONCE", 2)
        real, calls = Outbox.add, itertools.count(1)
        patched.setattr(Outbox, "add", lambda *given: 1 / 0 if next(calls) == 3 else real(*given))
        with pytest.raises(ZeroDivisionError):
            warehouse.deliver_webhooks()
        assert len(poke(warehouse, "SELECT * FROM deliveries")) == 3, "two changes a time, of two kinds each"
    warehouse.deliver_webhooks()
    assert [r.told["data"]["version"] for r in receiver.requests] == list("123456")


def test_a_cursor_that_is_too_old_leaves_nothing_out(warehouse, receiver):
    hook(warehouse, receiver, events=["model_version.created"])
    version(warehouse)
    warehouse.deliver_webhooks()
    version(warehouse)
    [(text,)] = poke(warehouse, "SELECT value FROM place")
    place = json.loads(text)
    cursor = json.loads(place["cursor"])
    cursor["checks"] = {name: "0" * len(check) for name, check in cursor["checks"].items()}
    poke(warehouse, "UPDATE place SET value = ?", json.dumps({**place, "cursor": json.dumps(cursor)}))
    with pytest.raises(SnapshotGoneError):
        warehouse.changes(since=json.dumps(cursor))
    warehouse.deliver_webhooks()
    assert [r.told["data"]["version"] for r in receiver.requests] == ["1", "2"]


def test_an_outbox_that_is_lost_tells_everything_again_by_the_same_ids(warehouse, receiver):
    hook(warehouse, receiver, events=["model_version.created"])
    for _ in range(3):
        version(warehouse)
    warehouse.deliver_webhooks()
    path = warehouse.root / "_webhooks" / FILE
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="told once more"):
        warehouse.deliver_webhooks()
    assert "told once more" in warehouse.doctor().problems[0]
    path.unlink()
    warehouse.deliver_webhooks()
    told = [(r.delivery_id, r.body) for r in receiver.requests]
    assert told[:3] == told[3:]


def test_a_secret_is_nowhere_but_in_its_file(warehouse, receiver):
    made = hook(warehouse, receiver, secret=SECRET)
    hook(warehouse, receiver, "open")
    warehouse.deliver_webhooks()
    assert SECRET not in repr(made) + repr(warehouse.list_webhooks())
    assert "secret" not in {f.name for f in fields(made)}
    for table in ("registry_events", "audit", "webhooks"):
        assert SECRET not in str(warehouse.sql(f"SELECT * FROM {table}", output_format="arrow").to_pylist())
    folder = warehouse.root / "_webhooks"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}
    holding = [p for p in warehouse.root.rglob("*") if p.is_file() and SECRET.encode() in p.read_bytes()]
    assert holding == [folder / FILE]
    warehouse.update_webhook("ci", secret="another secret of mine")
    assert warehouse.test_webhook("ci").success
    request = receiver.requests[-1]
    headers = request.headers["X-MLflow-Timestamp"], request.headers["X-MLflow-Signature"]
    assert headers[1] == signature_of("another secret of mine", request.delivery_id, headers[0], request.body)
    version(warehouse)
    warehouse.delete_webhook("ci")
    assert b"another secret of mine" not in (folder / FILE).read_bytes(), "SQLite writes over what it deletes"
    warehouse.deliver_webhooks()
    assert {r.headers.get("X-MLflow-Signature") for r in receiver.requests[1:]} == {None}


def test_nothing_goes_unsigned_where_the_secret_is_missing(warehouse, receiver):
    hook(warehouse, receiver, events=["model_version.created"], secret=SECRET)
    (warehouse.root / "_webhooks" / FILE).unlink()
    version(warehouse)
    [waiting] = warehouse.deliver_webhooks().deliveries
    assert waiting.state == "waiting"
    assert "its secret isn't on this machine" in waiting.reason
    with pytest.raises(InvalidInputError, match="isn't on this machine"):
        warehouse.test_webhook("ci")
    warehouse.update_webhook("ci", secret=SECRET)
    poke(warehouse, "UPDATE deliveries SET next_at = 0")
    assert warehouse.deliver_webhooks().n_waiting == 0
    assert "X-MLflow-Signature" in receiver.requests[-1].headers


def test_long_texts_are_cut(warehouse, receiver):
    hook(warehouse, receiver, events=["model_version.created"])
    version(warehouse, description="x" * 1_000_000)
    warehouse.deliver_webhooks()
    assert receiver.requests[0].told["data"]["description"] == "x" * 16_000 + "…"


def test_who_may_set_webhooks_and_what_they_may_be(warehouse, receiver, tmp_path):
    hook(warehouse, receiver)
    with pytest.raises(ConflictError, match="already"):
        hook(warehouse, receiver)
    for wrong, said in (
        ({"events": ["model_version.create"]}, r"Did you mean `model_version.created`"),
        ({"events": []}, "is empty"),
        ({"events": "gate.failed"}, "must be a list"),
        ({"secret": "short"}, "16 characters"),
        ({"models": ""}, "`models`"),
        ({"status": "OFF"}, "ACTIVE or DISABLED"),
        ({"name": "a b"}, "can't be called"),
        ({"name": 7}, "can't be called"),
        ({"events": 3}, "must be a list"),
        ({"models": None}, "`models`"),
        ({"secret": 12345}, "16 characters"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            hook(warehouse, receiver, **{"name": "next", **wrong})
    with pytest.raises(NotFoundError, match="Did you mean `ci`"):
        warehouse.get_webhook("cii")
    with pytest.raises(InvalidInputError, match="no event"):
        warehouse.test_webhook("ci", "nothing")
    hook(warehouse, receiver, "second")
    with pytest.raises(ConflictError):
        warehouse.update_webhook("second", new_name="ci")
    other = Warehouse(warehouse.root, committer="off", actor="eve")
    for ask in (
        lambda: hook(other, receiver, "mine", secret=SECRET),
        lambda: other.update_webhook("ci", url="https://evil.example.org/"),
        lambda: other.delete_webhook("ci"),
    ):
        with pytest.raises(PermissionDeniedError, match="takes the role `admin`"):
            ask()
    assert poke(warehouse, "SELECT count(*) FROM secrets") == [(0,)], "that of a refused one isn't kept"
    other.close()
    refused = warehouse.sql("SELECT count(*) AS n FROM audit WHERE actor = 'eve' AND outcome = 'refused'")
    assert refused["n"][0] == 3


def test_webhooks_are_no_models(warehouse, receiver):
    hook(warehouse, receiver)
    warehouse.registry.set_policy(Policy("p", stages=("Production",)))
    assert warehouse.search_registered_models() == []
    assert warehouse.sql("SELECT count(*) AS n FROM live_registry_events")["n"][0] == 0


def test_the_lock_is_let_go_when_following_ends(warehouse, receiver):
    hook(warehouse, receiver, events=["model_version.created"])
    version(warehouse)
    following = warehouse.follow_webhooks(poll_s=0.01)
    assert [d.state for d in next(following).deliveries] == ["delivered"]
    with pytest.raises(ConflictError):
        warehouse.deliver_webhooks()
    following.close()
    assert (warehouse.root / "_webhooks" / LOCK).exists()
    assert warehouse.deliver_webhooks().n_waiting == 0
