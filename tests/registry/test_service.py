"""What the registry promises to one caller."""

from __future__ import annotations

import json
import threading

import pytest

from mlwarehouse.engines.base import Txn
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError, StorageError
from mlwarehouse.registry import Registry
from mlwarehouse.registry.events import Kind
from mlwarehouse.registry.search import Search
from mlwarehouse.tables import AUDIT, REGISTRY_EVENTS


def version(registry: Registry, name: str = "sentiment", **arguments):
    given = {"source": "runs:/r1/model", "run_id": "r1", "digest": "d" * 64} | arguments
    return registry.create_model_version(name, **given)


def named(name: str) -> Search:
    return Search(on_names="model_name = $name", parameters={"name": name})


def audit(engine) -> list[tuple[str, str, str, dict]]:
    rows = engine.query("SELECT * FROM audit ORDER BY recorded_at, writer_seq").to_pylist()
    return [(r["action"], r["object"], r["outcome"], json.loads(r["detail"])) for r in rows]


def test_a_version_makes_its_model_and_is_all_it_was_given(registry):
    made = version(registry, description="first", tags={"team": "nlp"}, comment="it was best")
    assert (made.name, made.version, made.current_stage, made.status) == ("sentiment", 1, "None", "READY")
    assert (made.source, made.run_id, made.digest) == ("runs:/r1/model", "r1", "d" * 64)
    assert (made.description, dict(made.tags), made.user_id) == ("first", {"team": "nlp"}, "ada")
    assert made.uri == "models:/sentiment/1"
    assert registry.get_model_version("sentiment", "1") == made
    model = registry.get_registered_model("sentiment")
    assert model.description is None
    assert model.creation_timestamp == made.creation_timestamp == 1772323200000
    assert version(registry).version == 2


def test_a_model_is_created_once(registry):
    model = registry.create_registered_model("sentiment", "text in, mood out", {"owner": "ada"})
    assert (model.description, dict(model.tags), dict(model.aliases)) == ("text in, mood out", {"owner": "ada"}, {})
    with pytest.raises(ConflictError, match="exists already"):
        registry.create_registered_model("sentiment")
    assert version(registry).version == 1
    assert registry.get_registered_model("sentiment").description == "text in, mood out"


def test_an_alias_points_to_one_version_at_a_time(registry):
    version(registry), version(registry)
    registry.set_model_alias("sentiment", "champion", 1)
    registry.set_model_alias("sentiment", "candidate", 1)
    registry.set_model_alias("sentiment", "champion", "2", comment="better on Tuesdays")
    assert registry.get_model_version_by_alias("sentiment", "champion").version == 2
    assert registry.get_model_version("sentiment", 2).aliases == ("champion",)
    assert dict(registry.get_registered_model("sentiment").aliases) == {"champion": 2, "candidate": 1}
    registry.delete_model_alias("sentiment", "champion")
    with pytest.raises(NotFoundError, match=r"no alias `champion`; its aliases are `candidate`"):
        registry.get_model_version_by_alias("sentiment", "champion")
    with pytest.raises(NotFoundError, match="Did you mean `candidate`"):
        registry.delete_model_alias("sentiment", "candidat")
    with pytest.raises(NotFoundError, match="has no version 7; it has 1, 2"):
        registry.set_model_alias("sentiment", "champion", 7)


def test_stages_move_and_can_make_room(registry):
    for _ in range(3):
        version(registry)
    registry.transition_model_version_stage("sentiment", 1, "production")
    assert registry.transition_model_version_stage("sentiment", 2, "Production").current_stage == "Production"
    assert registry.get_model_version("sentiment", 1).current_stage == "Production"
    registry.transition_model_version_stage("sentiment", 3, "Production", archive_existing_versions=True)
    assert [registry.get_model_version("sentiment", n).current_stage for n in (1, 2, 3)] == [
        "Archived",
        "Archived",
        "Production",
    ]
    with pytest.raises(InvalidInputError, match="Did you mean `Staging`"):
        registry.transition_model_version_stage("sentiment", 1, "stagging")
    with pytest.raises(InvalidInputError, match="makes room in Staging or Production"):
        registry.transition_model_version_stage("sentiment", 1, "Archived", archive_existing_versions=True)


def test_tags_and_descriptions_are_set_and_taken_away(registry):
    version(registry, tags={"a": "1"}, description="old")
    registry.set_model_version_tag("sentiment", 1, "a", "2")
    registry.set_model_version_tag("sentiment", 1, "b", "3")
    registry.set_registered_model_tag("sentiment", "a", "4")
    registry.set_model_version_tag("sentiment", 1, "b", None)
    assert dict(registry.get_model_version("sentiment", 1).tags) == {"a": "2"}
    assert dict(registry.get_registered_model("sentiment").tags) == {"a": "4"}
    assert registry.update_model_version("sentiment", 1, "new").description == "new"
    assert registry.update_model_version("sentiment", 1, None).description is None
    assert registry.update_registered_model("sentiment", "about").description == "about"


def test_deleted_versions_take_their_aliases_and_keep_their_numbers(registry):
    version(registry), version(registry)
    registry.set_model_alias("sentiment", "champion", 2)
    registry.delete_model_version("sentiment", 2)
    assert dict(registry.get_registered_model("sentiment").aliases) == {}
    with pytest.raises(NotFoundError):
        registry.get_model_version("sentiment", 2)
    assert version(registry).version == 3
    registry.delete_registered_model("sentiment")
    with pytest.raises(NotFoundError):
        registry.get_registered_model("sentiment")
    with pytest.raises(NotFoundError):
        registry.delete_registered_model("sentiment")
    assert version(registry).version == 4
    assert [v.version for v in registry.search_model_versions(named("sentiment"))] == [4]


def test_addresses_resolve_to_versions(registry):
    for _ in range(3):
        version(registry)
    registry.set_model_alias("sentiment", "champion", 1)
    for number in (1, 2):
        registry.transition_model_version_stage("sentiment", number, "Production")
    for uri, number in {
        "models:/sentiment/3": 3,
        "models:/sentiment@champion": 1,
        "models:/sentiment/Production": 2,
        "models:/sentiment/production": 2,
        "models:/sentiment/None": 3,
        "models:/sentiment/latest": 3,
    }.items():
        assert registry.resolve(uri).version == number
    for uri in ("models:/sentiment/9", "models:/sentiment@nobody", "models:/sentiment/Staging"):
        with pytest.raises(NotFoundError):
            registry.resolve(uri)
    with pytest.raises(NotFoundError, match="Did you mean `sentiment`"):
        registry.resolve("models:/sentimant/1")
    for uri in ("models:/", "models:/sentiment", "runs:/x/model", "models:/sentiment/1/2", "models:/sentiment/-1", "x"):
        with pytest.raises(InvalidInputError):
            registry.resolve(uri)


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a:b", "x" * 257, "a\nb"])
def test_names_that_an_address_can_not_hold_are_refused(registry, engine, name):
    for call in (version, lambda r, n: r.create_registered_model(n), lambda r, n: r.get_registered_model(n)):
        with pytest.raises(InvalidInputError):
            call(registry, name)
    assert engine.version(REGISTRY_EVENTS) == 0


@pytest.mark.parametrize("alias", ["", "latest", "LATEST", "v1", "V12", "a b", "a/b", "a@b", "x" * 256])
def test_aliases_that_mean_something_else_are_refused(registry, alias):
    version(registry)
    with pytest.raises(InvalidInputError, match="alias"):
        registry.set_model_alias("sentiment", alias, 1)


@pytest.mark.parametrize("number", ["one", "", "1.0", 1.0, True, None, "-1"])
def test_versions_are_numbers(registry, number):
    version(registry)
    with pytest.raises(InvalidInputError, match="is a number"):
        registry.get_model_version("sentiment", number)


def test_sources_and_tags_are_checked(registry):
    with pytest.raises(InvalidInputError, match="source="):
        version(registry, source="")
    with pytest.raises(InvalidInputError, match="tag `a` must be text"):
        version(registry, tags={"a": 1})
    with pytest.raises(InvalidInputError, match="needs a key"):
        version(registry, tags={"": "x"})


def test_the_history_tells_who_did_what_and_why(registry):
    version(registry)
    registry.set_model_alias("sentiment", "champion", 1, comment="why not")
    registry.delete_registered_model("sentiment")
    events = registry.history("sentiment")
    assert [e.seq for e in events] == [1, 2, 3, 4]
    assert [e.change.kind for e in events] == [
        Kind.MODEL_CREATED,
        Kind.VERSION_CREATED,
        Kind.ALIAS_SET,
        Kind.MODEL_DELETED,
    ]
    assert (events[2].actor, events[2].comment, events[2].change.alias) == ("ada", "why not", "champion")
    with pytest.raises(NotFoundError):
        registry.history("nobody")


def test_every_decision_is_audited_and_a_refused_one_changes_nothing(registry, engine):
    version(registry)
    before = engine.version(REGISTRY_EVENTS)
    with pytest.raises(NotFoundError):
        registry.set_model_alias("sentiment", "champion", 2, comment="please")
    with pytest.raises(NotFoundError):
        registry.delete_model_version("other", 1)
    assert engine.version(REGISTRY_EVENTS) == before
    created, refused, other = audit(engine)
    assert created[:3] == ("create_model_version", "models:/sentiment", "allowed")
    assert created[3] == {"source": "runs:/r1/model", "run_id": "r1", "digest": "d" * 64}
    assert refused[:3] == ("set_model_alias", "models:/sentiment/2", "refused")
    assert refused[3]["comment"] == "please"
    assert "has no version 2" in refused[3]["reason"]
    assert other[:3] == ("delete_model_version", "models:/other/1", "refused")


def test_a_change_whose_audit_row_fails_is_still_done(registry, engine):
    version(registry)
    (engine.tables.path(AUDIT) / "_delta_log").rename(engine.tables.path(AUDIT) / "gone")
    engine.close()
    with pytest.warns(UserWarning, match="set_model_alias of models:/sentiment/1 is done, but not in `audit`"):
        registry.set_model_alias("sentiment", "champion", 1)
    assert registry.resolve("models:/sentiment@champion").version == 1
    with pytest.raises(StorageError):
        registry.set_model_alias("sentiment", "champion", 2)


def test_a_change_decided_on_an_older_state_is_decided_again(registry, engine, monkeypatch):
    """Another registry commits for the same model between the reading and the append."""
    version(registry)
    other = Registry(engine, actor="bob")
    append = engine.append
    intruded = threading.Event()

    def append_later(spec, rows, **given):
        if spec is REGISTRY_EVENTS and not intruded.is_set():
            intruded.set()
            other.create_model_version("sentiment", source="runs:/r2/model", run_id="r2", digest=None)
        return append(spec, rows, **given)

    monkeypatch.setattr(engine, "append", append_later)
    assert version(registry).version == 3
    assert [e.seq for e in registry.history("sentiment")] == [1, 2, 3, 4]
    assert registry.get_model_version("sentiment", 2).user_id == "bob"


def test_models_of_one_bucket_do_not_disturb_each_other(registry, engine):
    for n in range(6):
        version(registry, f"model-{n}")
    counters = [engine.transaction_version(REGISTRY_EVENTS, f"registry:{b}") or 0 for b in range(256)]
    assert sum(counters) == 6
    bucket = counters.index(max(counters))
    assert not engine.append(
        REGISTRY_EVENTS, REGISTRY_EVENTS.arrow_schema().empty_table(), txns=[Txn(f"registry:{bucket}", 1)]
    ).applied
