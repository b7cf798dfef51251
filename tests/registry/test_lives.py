"""What becomes of models: other names, deletions that are taken back, comments, parents, and pages of many."""

from __future__ import annotations

import itertools

import pytest

from mlwarehouse.engines.base import Reading
from mlwarehouse.errors import (
    ConcurrentChangeError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
)
from mlwarehouse.registry import Registry, Search
from mlwarehouse.registry.archive import Archive


def version(registry: Registry, name: str = "sentiment", **arguments):
    return registry.create_model_version(
        name, **({"source": "runs:/r1/model", "run_id": "r1", "digest": None} | arguments)
    )


def ask(engine, sql: str) -> list[dict]:
    return engine.query(sql).to_pylist()


def test_a_renamed_model_keeps_all_it_has_and_its_old_addresses_say_where_it_went(registry, engine):
    version(registry, description="first"), version(registry)
    registry.set_model_alias("sentiment", "champion", 2)
    registry.set_registered_model_tag("sentiment", "team", "nlp")
    said = registry.add_comment("sentiment", "good", version=2)
    before, versions = registry.get_registered_model("sentiment"), registry.get_model_version("sentiment", 1)

    after = registry.rename_registered_model("sentiment", "mood", comment="it is more")
    assert (dict(after.aliases), dict(after.tags)) == ({"champion": 2}, {"team": "nlp"})
    assert after.creation_timestamp == before.creation_timestamp
    assert after.last_updated_timestamp > before.last_updated_timestamp
    moved = registry.get_model_version("mood", 1)
    assert (moved.creation_timestamp, moved.description) == (versions.creation_timestamp, "first")
    [comment] = registry.comments("mood")
    assert (comment.text, comment.version, comment.creation_timestamp) == ("good", 2, said.creation_timestamp)
    for ask_old in (
        lambda: registry.resolve("models:/sentiment@champion"),
        lambda: registry.set_model_alias("sentiment", "champion", 1),
        lambda: registry.rename_registered_model("sentiment", "other"),
    ):
        with pytest.raises(NotFoundError, match="renamed to `mood`"):
            ask_old()
    assert version(registry, "mood").version == 3
    assert [m.name for m in registry.search_registered_models()] == ["mood"]
    assert [(r["name"], r["n_versions"]) for r in ask(engine, "SELECT * FROM registered_models")] == [("mood", 3)]
    # What was said before the rename is edited by its number under the new name.
    assert registry.edit_comment("mood", comment.comment_id, "very good").text == "very good"
    assert [r["text"] for r in ask(engine, "SELECT text FROM model_comments")] == ["very good"]


def test_a_name_whose_versions_were_somebody_elses_is_not_taken(registry):
    version(registry, "a"), version(registry, "b")
    with pytest.raises(ConflictError, match="is a registered model `b` already"):
        registry.rename_registered_model("a", "b")
    registry.delete_registered_model("b")
    with pytest.raises(ConflictError, match="their addresses would come to mean other ones"):
        registry.rename_registered_model("a", "b")
    with pytest.raises(InvalidInputError, match="has this name already"):
        registry.rename_registered_model("a", "a")
    registry.rename_registered_model("a", "c")
    assert registry.rename_registered_model("c", "a").name == "a"
    assert version(registry, "a").version == 2
    # A name that was given away goes on counting, so that no address means two versions.
    registry.rename_registered_model("a", "d")
    assert version(registry, "a").version == 3


def test_a_past_moment_before_a_rename_knows_the_old_name_only(registry, engine):
    version(registry)
    registry.rename_registered_model("sentiment", "mood")
    [row] = ask(engine, "SELECT recorded_at FROM registry_events WHERE kind = 'renamed_from'")
    then = ask(engine, "SELECT max(recorded_at) AS at FROM registry_events WHERE kind = 'version_created'")
    assert then[0]["at"] == row["recorded_at"], "copies are recorded with the rename"
    [first] = ask(engine, "SELECT min(recorded_at) AS at FROM registry_events")
    past = Registry(engine, actor="x", reading=Reading(as_of=first["at"]))
    assert [m.name for m in past.search_registered_models()] == ["sentiment"]


def test_deletions_are_taken_back(registry, engine):
    version(registry, tags={"a": "1"}), version(registry)
    registry.transition_model_version_stage("sentiment", 2, "Production")
    registry.set_model_alias("sentiment", "champion", 2)
    before = registry.get_registered_model("sentiment")
    registry.delete_model_version("sentiment", 2)
    with pytest.raises(ConflictError, match="isn't deleted"):
        registry.restore_model_version("sentiment", 1)
    with pytest.raises(NotFoundError, match="never had a version 3; deleted are 2"):
        registry.restore_model_version("sentiment", 3)
    back = registry.restore_model_version("sentiment", 2, comment="a slip")
    assert (back.current_stage, back.aliases) == ("Production", ())
    assert ask(engine, "SELECT * FROM model_aliases") == []

    registry.set_model_alias("sentiment", "champion", 2)
    registry.delete_registered_model("sentiment")
    restored = registry.restore_registered_model("sentiment")
    assert (dict(restored.aliases), restored.creation_timestamp) == (dict(before.aliases), before.creation_timestamp)
    assert [r["version"] for r in ask(engine, "SELECT * FROM model_aliases")] == [2]
    with pytest.raises(ConflictError, match="There is a registered model"):
        registry.restore_registered_model("sentiment")
    registry.delete_registered_model("sentiment")
    registry.create_registered_model("sentiment")
    registry.delete_registered_model("sentiment")
    # The one that was deleted last comes back, not the one before.
    assert dict(registry.restore_registered_model("sentiment").aliases) == {}
    with pytest.raises(NotFoundError, match="no registered model `nobody`"):
        registry.restore_registered_model("nobody")
    registry.rename_registered_model("sentiment", "mood")
    with pytest.raises(ConflictError, match="was renamed to `mood`"):
        registry.restore_registered_model("sentiment")


def test_comments_are_their_writers(registry, engine):
    version(registry)
    first = registry.add_comment("sentiment", "**why** so slow?")
    second = registry.add_comment("sentiment", "fast enough", version=1)
    other = Registry(engine, actor="bob")
    for change in (lambda: other.edit_comment("sentiment", first.comment_id, "x"),
                   lambda: other.delete_comment("sentiment", first.comment_id)):  # fmt: skip
        with pytest.raises(PermissionDeniedError, match="is `ada`'s; `bob` can add one"):
            change()
    assert [c.text for c in registry.comments("sentiment", 1)] == ["fast enough"]
    registry.delete_comment("sentiment", second.comment_id)
    assert registry.comments("sentiment") == [first]
    with pytest.raises(NotFoundError, match=f"no comment {second.comment_id}; it has {first.comment_id}"):
        registry.edit_comment("sentiment", second.comment_id, "x")
    with pytest.raises(InvalidInputError, match="needs a text"):
        registry.add_comment("sentiment", "  ")
    assert [e.change.value for e in registry.history("sentiment")][-3:] == ["**why** so slow?", "fast enough", None]


def test_a_version_knows_its_parent(registry):
    version(registry, "base"), version(registry, "base")
    registry.set_model_alias("base", "champion", 1)
    made = version(registry, parent="models:/base@champion")
    registry.set_model_alias("base", "champion", 2)
    assert made.parent == registry.get_model_version("sentiment", 1).parent == "models:/base/1"
    with pytest.raises(NotFoundError):
        version(registry, parent="models:/base/9")


def test_whoever_asked_on_an_older_state_is_told(registry, engine):
    version(registry)
    seen = len(registry.history("sentiment"))
    registry.set_model_alias("sentiment", "champion", 1, expected_seq=seen)
    with pytest.raises(ConcurrentChangeError, match=f"its last event is {seen + 1}, and this was asked on {seen}"):
        registry.transition_model_version_stage("sentiment", 1, "Production", expected_seq=seen)
    assert registry.get_model_version("sentiment", 1).current_stage == "None"


def test_the_newest_versions_of_stages(registry):
    for _ in range(4):
        version(registry)
    for number in (1, 2):
        registry.transition_model_version_stage("sentiment", number, "Production")
    newest = registry.get_latest_versions("sentiment")
    assert {v.current_stage: v.version for v in newest} == {"None": 4, "Production": 2}
    assert [v.version for v in registry.get_latest_versions("sentiment", ["production"])] == [2]
    assert registry.get_latest_versions("sentiment", ["Staging"]) == []


def test_a_version_may_be_on_its_way(registry):
    made = version(registry, "m", status="PENDING_REGISTRATION")
    assert (made.status, version(registry, "m").status) == ("PENDING_REGISTRATION", "READY")
    with pytest.raises(InvalidInputError, match="Did you mean"):
        registry.set_model_version_status("m", 1, "REDY")
    assert registry.set_model_version_status("m", 1, "FAILED_REGISTRATION", "upload broke off").status == (
        "FAILED_REGISTRATION"
    )
    for number in (1, 2):
        with pytest.raises(ConflictError, match=r"is (FAILED_REGISTRATION|READY); only one that is PENDING"):
            registry.set_model_version_status("m", number, "READY")
    with pytest.raises(NotFoundError):
        registry.set_model_version_status("m", 3, "READY")
    search = Search(where="v.status != 'READY'", on_names=None)
    assert [v.version for v in registry.search_model_versions(search)] == [1]


def test_pages_hold_everything_once_and_in_order(registry, monkeypatch):
    monkeypatch.setattr("mlwarehouse.registry.archive.MODELS_AT_MOST", 2)
    for n in range(5):
        for _ in range(n % 3 + 1):
            version(registry, f"model-{n}")
    registry.delete_registered_model("model-3")
    registry.rename_registered_model("model-4", "a-model")
    versions = [(v.name, v.version) for v in registry.search_model_versions()]
    assert versions == sorted(versions, key=lambda v: (v[0], -v[1]))
    assert len(versions) == 1 + 2 + 3 + 2
    by_views = Search(on_names=None)
    for search, size in itertools.product((Search(), by_views), (1, 3, 8, 100)):
        found, token, n_pages = [], None, 0
        while n_pages == 0 or token:
            page = registry.search_model_versions(search, max_results=size, page_token=token)
            found += [(v.name, v.version) for v in page]
            token, n_pages = page.token, n_pages + 1
        assert found == versions
        assert n_pages == -(-len(versions) // size)
    for search in (Search(), by_views):
        first = registry.search_registered_models(search, max_results=2)
        rest = registry.search_registered_models(search, max_results=2, page_token=first.token)
        assert [m.name for m in (*first, *rest)] == ["a-model", "model-0", "model-1", "model-2"]
        assert rest.token is None
    for token in ("x", first.token + "x", registry.search_model_versions(max_results=1).token):
        with pytest.raises(InvalidInputError, match="isn't a page token of this search"):
            registry.search_registered_models(by_views, max_results=2, page_token=token)
    for size in (0, -1, True, 10**9, "2"):
        with pytest.raises(InvalidInputError, match="max_results"):
            registry.search_model_versions(max_results=size)


def test_a_page_asks_no_view(registry, engine, monkeypatch):
    """The views fold all models there are."""
    for n in range(3):
        version(registry, f"model-{n}")
    asked = []
    query = Archive._ask
    monkeypatch.setattr(Archive, "_ask", lambda self, sql, p: asked.append(sql) or query(self, sql, p))
    monkeypatch.setattr(engine, "query", lambda sql, _q=engine.query, **k: asked.append(sql) or _q(sql, **k))
    registry.search_model_versions(max_results=2)
    registry.search_registered_models(max_results=2)
    registry.resolve("models:/model-1/1")
    with pytest.raises(NotFoundError, match="Did you mean"):
        registry.get_registered_model("model_1")
    assert asked
    assert not any(view in sql for sql in asked for view in ("model_versions", "registered_models", "live_registry"))


def test_two_moments_are_told_apart(registry, engine):
    version(registry, tags={"a": "1"})
    registry.set_model_alias("sentiment", "champion", 1)
    moments = [engine.query("SELECT max(recorded_at) AS at FROM registry_events").to_pylist()[0]["at"]]
    version(registry, description="better")
    registry.set_model_alias("sentiment", "champion", 2)
    registry.transition_model_version_stage("sentiment", 2, "Production")
    registry.set_model_version_tag("sentiment", 1, "a", None)
    registry.update_registered_model("sentiment", "moods")
    past = Registry(engine, actor="x", reading=Reading(as_of=moments[0]))
    told = [(d.what, d.version, d.key, d.before, d.after) for d in registry.differences("sentiment", past)]
    assert told == [
        ("alias", None, "champion", "1", "2"),
        ("description", None, None, None, "moods"),
        ("tag", 1, "a", "1", None),
        ("version", 2, None, None, "runs:/r1/model"),
        ("stage", 2, None, None, "Production"),
        ("description", 2, None, None, "better"),
    ]
    back = past.differences("sentiment", registry)
    assert [(d.after, d.before) for d in back] == [(before, after) for *_, before, after in told]
    assert registry.differences("sentiment", registry) == []
    registry.delete_registered_model("sentiment")
    assert ("model", None, None, "sentiment", None) in [
        (d.what, d.version, d.key, d.before, d.after) for d in registry.differences("sentiment", past)
    ]
    with pytest.raises(NotFoundError):
        registry.differences("nobody", past)
