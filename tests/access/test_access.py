"""Who may do what: users, groups, roles, tokens, as rows whose history stays."""

from __future__ import annotations

import datetime as dt
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mlwarehouse import Warehouse
from mlwarehouse.access import LADDER, Principal, Right
from mlwarehouse.access.service import Access
from mlwarehouse.access.state import fold
from mlwarehouse.access.tokens import is_token, new_token
from mlwarehouse.cli import app
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    found = Warehouse(tmp_path / "wh", committer="off", actor="root")
    found.create()
    return found


@pytest.mark.parametrize("role", LADDER[1:])
def test_a_role_includes_those_before_it_where_it_holds_and_nowhere_else(role: str) -> None:
    everything = Principal("a", frozenset({Right(role)}))
    experiment = Principal("a", frozenset({Right(role, "experiments/7")}))
    models = Principal("a", frozenset({Right(role, "models/mood-*"), Right("reader", "models/x")}))
    for wanted in LADDER[1:]:
        has = LADDER.index(wanted) <= LADDER.index(role)
        assert everything.may(wanted) == has
        assert everything.may(wanted, "experiments/7") == everything.may(wanted, "models/x") == has
        assert experiment.may(wanted, "experiments/7") == has
        assert models.may(wanted, "models/mood-1") == has
        for elsewhere in ("*", "experiments/70", "experiments/", "models/7", "models/mood"):
            assert not experiment.may(wanted, elsewhere)
        for elsewhere in ("*", "experiments/mood-1", "models/", "models/moody", "models/X"):
            assert not models.may(wanted, elsewhere)


def test_a_pattern_of_models_covers_no_experiment_and_an_experiments_id_is_no_pattern() -> None:
    assert not Right("reader", "models/*").covers("experiments/1")
    assert not Right("reader", "models/*").covers("*")
    assert not Right("reader", "experiments/*").covers("experiments/1")


def test_roles_of_policies_give_no_rights_and_are_left_out_of_a_bounded_token() -> None:
    lead = Principal("lea", frozenset({Right("lead"), Right("writer", "models/mood")}))
    assert lead.roles("models/mood") == {"lead", "reader", "writer"}
    assert lead.roles() == {"lead"}
    assert not lead.may("reader")
    bounded = Principal("lea", lead.rights, bound="reader")
    assert bounded.roles("models/mood") == {"reader"}


steps = st.lists(
    st.tuples(
        st.sampled_from(["role_granted", "role_revoked", "user_added", "user_removed"]),
        st.sampled_from(["ana", "bob"]),
        st.sampled_from(["reader", "admin"]),
        st.sampled_from(["*", "experiments/1"]),
    ),
    max_size=12,
)


@given(steps)
def test_the_last_word_counts(said: list[tuple[str, str, str, str]]) -> None:
    """By the definition: granted, and neither revoked nor the user removed behind that."""
    events = [
        {"seq": n, "kind": k, "principal": p, "role": r, "object": o, "event_at": NOW}
        for n, (k, p, r, o) in enumerate(said, start=1)
    ]
    state = fold(events)
    for name in ("ana", "bob"):
        for role in ("reader", "admin"):
            for on in ("*", "experiments/1"):
                about = [
                    k
                    for k, p, r, o in said
                    if p == name and (k == "user_removed" or (k.startswith("role") and (r, o) == (role, on)))
                ]
                expected = bool(about) and about[-1] == "role_granted"
                assert (Right(role, on) in state.rights.get(name, ())) == expected


def test_a_token_is_its_own_text_and_no_other() -> None:
    text, _, kept = new_token()
    other, _, _ = new_token()
    assert is_token(text, kept)
    for wrong in (other, text[:-1], text + "x", text.swapcase(), "", kept, f"mlwh_000000000000_{kept[:43]}", "ä" * 60):
        assert not is_token(wrong, kept)
    assert not is_token(text, None)
    assert not is_token("", None)


def test_tokens_hold_until_they_end_are_revoked_or_their_user_goes(warehouse: Warehouse) -> None:
    access = warehouse.access
    access.add_user("ci")
    access.grant("writer", "ci")
    texts = {name: access.create_token("ci", name, days=days)[0] for name, days in (("a", 1), ("b", None), ("c", 2))}

    def holds(name: str, days: float = 0) -> bool:
        # Somebody else, who looks anew.
        state = Access(warehouse.engine, actor="server").state()
        found = state.known_by(texts[name], access.now() + dt.timedelta(days=days))
        assert found is None or (found.name == "ci" and found.may("writer"))
        return found is not None

    assert [holds(name) for name in "abc"] == [True, True, True]
    assert [holds(name, 1.5) for name in "abc"] == [False, True, True]
    [token] = [t for t in access.state().tokens.values() if t.name == "c"]
    access.revoke_token(token.token_id)
    assert [holds(name) for name in "abc"] == [True, True, False]
    access.remove_user("ci")
    assert [holds(name) for name in "abc"] == [False, False, False]
    access.add_user("ci")
    assert [holds(name) for name in "abc"] == [False, False, False]


def test_a_token_does_no_more_than_it_is_bound_to(warehouse: Warehouse) -> None:
    access = warehouse.access
    access.add_user("root")
    access.grant("admin", "root")
    assert not access.state().has_admin(access.now(), by_log_in=False)
    assert access.state().has_admin(access.now(), by_log_in=True)
    text, _ = access.create_token("root", "watch", role="reader")
    found = access.state().known_by(text, access.now())
    assert found is not None
    assert (found.may("reader"), found.may("writer")) == (True, False)
    assert not access.state().has_admin(access.now(), by_log_in=False)
    access.create_token("root", "all", days=1)
    assert access.state().has_admin(access.now(), by_log_in=False)
    assert not access.state().has_admin(access.now() + dt.timedelta(days=1), by_log_in=False)


def test_no_file_has_a_token(warehouse: Warehouse) -> None:
    warehouse.access.add_user("ci")
    text, token = warehouse.access.create_token("ci", "build")
    secret = text.rpartition("_")[2].encode()
    files = [p for p in Path(warehouse.root).rglob("*") if p.is_file()]
    assert files
    assert not any(secret in p.read_bytes() for p in files)
    assert text not in repr(token)
    assert token.token_hash not in repr(token)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda a: a.add_user("ana"), ConflictError),
        (lambda a: a.add_user("group:x"), InvalidInputError),
        (lambda a: a.add_user("a b"), InvalidInputError),
        (lambda a: a.add_user(""), InvalidInputError),
        (lambda a: a.remove_user("bob"), NotFoundError),
        (lambda a: a.grant("reader", "anna"), NotFoundError),
        (lambda a: a.grant("raeder", "ana"), InvalidInputError),
        (lambda a: a.grant("public", "ana"), InvalidInputError),
        (lambda a: a.grant("admin", "ana", "models/x"), InvalidInputError),
        (lambda a: a.grant("lead", "ana", "models/x"), InvalidInputError),
        (lambda a: a.grant("reader", "ana", "experiments/x*"), InvalidInputError),
        (lambda a: a.grant("reader", "ana", "runs/1"), InvalidInputError),
        (lambda a: a.grant("reader", "group:"), InvalidInputError),
        (lambda a: a.revoke("reader", "ana"), NotFoundError),
        (lambda a: a.create_token("bob", "t"), NotFoundError),
        (lambda a: a.create_token("ana", ""), InvalidInputError),
        (lambda a: a.create_token("ana", "t", days=-1), InvalidInputError),
        (lambda a: a.create_token("ana", "t", role="lead"), InvalidInputError),
        (lambda a: a.revoke_token("0123456789ab"), NotFoundError),
    ],
)
def test_what_can_not_be_is_refused_and_nothing_recorded(warehouse: Warehouse, change: Any, error: type) -> None:
    warehouse.access.add_user("ana")
    with pytest.raises(error):
        change(warehouse.access)
    assert warehouse.access.state().seq == 1


def test_changes_at_once_are_numbered_without_gaps(warehouse: Warehouse) -> None:
    def add(writer: int) -> None:
        access = Access(warehouse.engine, actor=f"root-{writer}")
        for n in range(4):
            access.add_user(f"u{writer}-{n}")

    threads = [threading.Thread(target=add, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = warehouse.sql("SELECT seq, actor FROM access_events ORDER BY seq", output_format="arrow").to_pylist()
    assert [row["seq"] for row in rows] == list(range(1, 13))
    assert len(warehouse.access.state().users) == 12
    audit = warehouse.sql("SELECT action, outcome FROM audit", output_format="arrow").to_pylist()
    assert audit == [{"action": "add_user", "outcome": "allowed"}] * 12


def test_who_could_do_what_then_is_a_question(warehouse: Warehouse) -> None:
    warehouse.access.add_user("ana")
    warehouse.access.grant("reader", "ana", "experiments/7", comment="for the review")
    then = dt.datetime.now(dt.UTC)
    warehouse.access.revoke("reader", "ana", "experiments/7")
    asked = "SELECT principal, role, object, actor, comment FROM access_rights"
    assert warehouse.sql(asked, output_format="arrow").num_rows == 0
    assert warehouse.sql(asked, as_of=then, output_format="arrow").to_pylist() == [
        {
            "principal": "ana",
            "role": "reader",
            "object": "experiments/7",
            "actor": "root",
            "comment": "for the review",
        }
    ]


def test_a_user_whom_a_purge_made_forget_has_nothing_left(warehouse: Warehouse) -> None:
    """Their name becomes a word that all have whom one forgot."""
    access, texts = warehouse.access, []
    for name, role in (("ana", "admin"), ("bob", "reader")):
        access.add_user(name)
        access.grant(role, name)
        texts.append(access.create_token(name, "t")[0])
        theirs = Warehouse(warehouse.uri, committer="off", capture_code=False, actor=name)
        with theirs.start_run():
            pass
        theirs.close()
        warehouse.flush()
        warehouse.purge(user=name, dry_run=False)
    state = access.state()
    assert [state.known_by(text, access.now()) for text in texts] == [None, None]
    assert not state.rights
    assert warehouse.sql("SELECT * FROM access_rights", output_format="arrow").num_rows == 0
    named = warehouse.sql("SELECT DISTINCT principal FROM access_events", output_format="arrow").to_pylist()
    assert named == [{"principal": "purged"}]
    with pytest.raises(InvalidInputError):
        access.add_user("purged")


def test_the_commands(tmp_path: Path) -> None:
    place = ["--warehouse", str(tmp_path / "wh")]
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    with warehouse.start_run(experiment="mood"):
        pass
    warehouse.flush()

    def told(*words: str) -> Any:
        done = CliRunner().invoke(app, [*words, *place, "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert told("users", "add", "ci", "--role", "reader") == {"user": "ci", "role": "reader"}
    told("users", "add", "bob")
    on = told("grant", "writer", "ci", "--experiment", "mood")["on"]
    assert told("grant", "writer", "ci", "--experiment", on.partition("/")[2])["on"] == on
    told("grant", "approver", "group:leads", "--model", "mood-*")
    assert told("users", "list") == [
        {"user": "ci", "role": "reader", "on": "*"},
        {"user": "ci", "role": "writer", "on": on},
        {"user": "group:leads", "role": "approver", "on": "models/mood-*"},
        {"user": "bob", "role": None, "on": None},
    ]
    told("revoke", "writer", "ci", "--experiment", "mood")
    made = told("tokens", "create", "ci", "build", "--role", "reader", "--days", "0")
    assert made["expires_at"] is None
    assert made["token"].startswith(f"mlwh_{made['token_id']}_")
    [listed] = told("tokens", "list")
    assert listed == {name: value for name, value in made.items() if name != "token"}
    assert told("tokens", "revoke", made["token_id"])["revoked_at"]
    assert told("tokens", "list") == []
    assert len(told("tokens", "list", "--all")) == 1
    assert told("users", "remove", "ci") == {"removed": "ci"}
    for words in (["grant", "reader", "bob", "-e", "mood", "-m", "x"], ["grant", "reader", "bob", "-e", "moood"]):
        with pytest.raises((InvalidInputError, NotFoundError)):
            CliRunner().invoke(app, [*words, *place], catch_exceptions=False)
