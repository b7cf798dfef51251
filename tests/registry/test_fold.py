"""The fold in Python and the views in SQL say the same of any history."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlwarehouse.engines.base import Reading
from mlwarehouse.entities import Stage, VersionStatus
from mlwarehouse.errors import WarehouseError
from mlwarehouse.registry import fold, rules
from mlwarehouse.registry import requests as requests_
from mlwarehouse.registry.events import Event, Kind, event_table
from mlwarehouse.registry.fold import ModelState, step
from mlwarehouse.registry.renaming import renaming

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

versions = st.integers(1, 4)
texts = st.none() | st.sampled_from(["", "one", "two"])
keys = st.sampled_from(["a", "b"])
requests = st.one_of(
    st.tuples(st.just("create_model"), st.fixed_dictionaries({"description": texts, "tags": st.just({"a": "x"})})),
    *[
        st.tuples(
            st.just("create_version"),
            st.fixed_dictionaries(
                {
                    "source": st.just("runs:/r/m"),
                    "run_id": texts,
                    "digest": texts,
                    "description": texts,
                    "tags": st.dictionaries(keys, st.just("x")),
                    "parent": st.none() | st.just("models:/o/1"),
                    "status": st.sampled_from([VersionStatus.READY, VersionStatus.PENDING]),
                }
            ),
        )
    ]
    * 3,
    st.tuples(
        st.just("set_status"),
        st.fixed_dictionaries({"version": versions, "status": st.sampled_from(list(VersionStatus))}),
    ),
    st.tuples(st.just("set_alias"), st.fixed_dictionaries({"alias": keys, "version": versions})),
    st.tuples(st.just("delete_alias"), st.fixed_dictionaries({"alias": keys})),
    st.tuples(
        st.just("set_stage"),
        st.fixed_dictionaries(
            {"version": versions, "stage": st.sampled_from(list(Stage)), "archive_existing": st.booleans()}
        ),
    ),
    st.tuples(
        st.just("set_tag"), st.fixed_dictionaries({"version": st.none() | versions, "key": keys, "value": texts})
    ),
    st.tuples(
        st.just("set_description"), st.fixed_dictionaries({"version": st.none() | versions, "description": texts})
    ),
    st.tuples(st.just("delete_version"), st.fixed_dictionaries({"version": versions})),
    st.tuples(st.just("restore_version"), st.fixed_dictionaries({"version": versions})),
    st.tuples(st.just("delete_model"), st.just({})),
    st.tuples(st.just("restore_model"), st.just({})),
    st.tuples(
        st.just("add_comment"), st.fixed_dictionaries({"version": st.none() | versions, "text": st.just("said")})
    ),
    st.tuples(
        st.just("edit_comment"),
        st.fixed_dictionaries({"number": st.integers(1, 9), "text": st.just("meant"), "actor": st.just("ada")}),
    ),
    st.tuples(st.just("delete_comment"), st.fixed_dictionaries({"number": st.integers(1, 9), "actor": st.just("ada")})),
    st.tuples(st.just("rename"), st.just({})),
    *[
        st.tuples(
            st.just("request"),
            st.one_of(
                st.fixed_dictionaries({"version": versions, "stage": st.sampled_from(list(Stage)), "alias": st.none()}),
                st.fixed_dictionaries({"version": versions, "stage": st.none(), "alias": keys}),
            ),
        )
    ]
    * 2,
    st.tuples(
        st.just("approve"), st.fixed_dictionaries({"number": st.integers(1, 12), "archive_existing": st.just(False)})
    ),
    st.tuples(st.just("reject"), st.fixed_dictionaries({"number": st.integers(1, 12)})),
    st.tuples(st.just("cancel"), st.fixed_dictionaries({"number": st.integers(1, 12), "actor": st.just("ada")})),
    st.tuples(
        st.just("record_gate"), st.fixed_dictionaries({"version": versions, "gate": keys, "passed": st.booleans()})
    ),
)
histories = st.lists(st.tuples(st.sampled_from(["m", "n"]), requests, st.integers(-5, 5)), max_size=25)


def happened(history) -> tuple[dict[str, ModelState], list[Event]]:
    """What the rules allow of a history, on a clock that may go back."""
    states = {name: ModelState(name) for name in ("m", "n")}
    events: list[Event] = []
    given_to: dict[str, set[int]] = {"m": set(), "n": set()}
    at = START
    for name, (action, arguments), seconds in history:
        at += dt.timedelta(seconds=seconds, microseconds=1)
        if action == "rename":
            new = "n" if name == "m" else "m"
            if rename(states, events, name, new, at):
                given_to[new] |= given_to[name]
            continue
        try:
            changes = getattr(rules if hasattr(rules, action) else requests_, action)(states[name], **arguments)
        except WarehouseError:
            continue
        for change in changes:
            event = Event(name, states[name].last_seq + 1, change, "ada", None, at)
            states[name] = step(states[name], event)
            events.append(event)
            if change.kind is Kind.VERSION_CREATED:
                # Whatever was deleted, restored or renamed before.
                assert change.version == max(given_to[name], default=0) + 1
                given_to[name].add(change.version)
    return states, events


def rename(states: dict[str, ModelState], events: list[Event], name: str, new: str, at: dt.datetime) -> bool:
    own, there = ([e for e in events if e.model_name == n] for n in (name, new))
    try:
        made = renaming(name, own, new, there, actor="ada", comment=None, at=at)
    except WarehouseError:
        return False
    events += [made.ended, *made.copies, made.begun]
    states[name], states[new] = step(states[name], made.ended), fold(new, [*there, *made.copies, made.begun])
    return True


@given(histories)
def test_folding_all_at_once_is_folding_one_by_one(history):
    states, events = happened(history)
    for name, state in states.items():
        own = [e for e in events if e.model_name == name]
        assert fold(name, reversed(own)) == state
        assert [e.seq for e in own] == list(range(1, len(own) + 1))


@given(histories)
def test_a_step_leaves_the_state_before_it_alone(history):
    _, events = happened(history)
    state = ModelState("m")
    for event in (e for e in events if e.model_name == "m"):
        before = asdict(state)
        after = step(state, event)
        assert asdict(state) == before
        state = after


def milliseconds(at: dt.datetime) -> int:
    return int(at.timestamp() * 1_000_000) // 1000


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories)
def test_the_views_say_what_the_fold_says(engine, history):
    states, events = happened(history)
    rows = event_table(events, "w", range(len(events)), START)
    # As an overlay, the views read the rows as if they had just been committed.
    reading = Reading(overlay={"registry_events": rows})

    def ask(sql: str) -> list[dict]:
        return engine.query(sql, reading=reading).to_pylist()

    models = {r["name"]: r for r in ask("SELECT * FROM registered_models")}
    assert set(models) == {name for name, state in states.items() if state.exists}
    found = {(r["name"], r["version"]): r for r in ask("SELECT * FROM model_versions")}
    assert set(found) == {(name, n) for name, state in states.items() for n in state.versions}
    aliases = {(r["name"], r["alias"]): r["version"] for r in ask("SELECT * FROM model_aliases")}
    assert aliases == {(name, a): v for name, state in states.items() for a, v in state.aliases.items()}
    tags = {(r["name"], r["version"], r["key"]): r["value"] for r in ask("SELECT * FROM model_tags")}
    assert tags == {(n, None, k): v for n, state in states.items() for k, v in state.tags.items()} | {
        (n, v.version, k): t for n, state in states.items() for v in state.versions.values() for k, t in v.tags.items()
    }
    comments = {(r["name"], r["comment_id"]): r for r in ask("SELECT * FROM model_comments")}
    assert set(comments) == {(n, c) for n, state in states.items() for c in state.comments if state.has_comment(c)}
    for (name, number), row in comments.items():
        comment = states[name].comment(number)
        assert (row["version"], row["text"], row["user_id"]) == (comment.version, comment.text, comment.user_id)
        assert milliseconds(row["created_at"]) == comment.creation_timestamp
        assert milliseconds(row["updated_at"]) == comment.last_updated_timestamp
    asked = {(r["name"], r["request_id"]): r for r in ask("SELECT * FROM transition_requests")}
    assert set(asked) == {(n, number) for n, state in states.items() for number in state.requests}
    for (name, number), row in asked.items():
        request = states[name].request(number)
        for column in ("version", "stage", "alias", "status", "user_id", "comment", "decided_by", "decision_comment"):
            assert row[column] == getattr(request, column), column
        assert milliseconds(row["requested_at"]) == request.creation_timestamp
    gates = {(r["name"], r["version"], r["gate"]): r["passed"] for r in ask("SELECT * FROM gate_results")}
    assert gates == {
        (n, v, g): gate.passed
        for n, state in states.items()
        for (v, g), gate in state.gates.items()
        if v in state.versions
    }
    for name, row in models.items():
        entity = states[name].registered_model()
        assert row["description"] == entity.description
        assert milliseconds(row["created_at"]) == entity.creation_timestamp
        assert milliseconds(row["updated_at"]) == entity.last_updated_timestamp
        assert row["n_versions"] == len(states[name].versions)
        assert row["latest_version"] == max(states[name].versions, default=None)
    for (name, number), row in found.items():
        entity = states[name].model_version(number)
        for column, value in {
            "stage": entity.current_stage,
            "description": entity.description,
            "source": entity.source,
            "run_id": entity.run_id,
            "digest": entity.digest,
            "user_id": entity.user_id,
            "status": entity.status,
            "parent": entity.parent,
        }.items():
            assert row[column] == value, column
        assert milliseconds(row["created_at"]) == entity.creation_timestamp
        assert milliseconds(row["updated_at"]) == entity.last_updated_timestamp


def test_an_unknown_name_is_a_state_too():
    assert fold("m", []) == ModelState("m")
