"""Searches fold only the models whose events say what is asked, and find what the views say of all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlwarehouse.engines.base import Reading
from mlwarehouse.query.registered import registered_question
from mlwarehouse.registry import Registry, Search, finding
from mlwarehouse.registry.events import event_table
from tests.registry.test_fold import START, happened, histories

ATOMS = {
    "versions": (
        "stage = 'Production'", "stage != 'Production'", "stage = 'None'", "stage LIKE 'P%'", "alias = 'a'",
        "alias IS NULL", "alias LIKE '%'", "tags.a = 'x'", "tags.a != 'x'", "tags.b IS NULL", "description = 'one'",
        "description LIKE '%o%'", "run_id = 'two'", "digest != 'one'", "parent = 'models:/o/1'", "version > 1",
        "version BETWEEN 2 AND 3", "user_id = 'ada'", "user_id = 'bo'", "name = 'm'", "name NOT LIKE 'm'",
        "stage IN ('Archived', 'None')", "creation_timestamp > 0", "last_updated_timestamp < '2026-01-01T00:00:03'",
    ),
    "models": (
        "alias = 'a'", "alias IS NULL", "tags.a = 'x'", "tags.a != 'x'", "tags.b IS NULL", "description = 'one'",
        "n_versions = 2", "latest_version > 1", "name = 'm'", "name NOT LIKE 'm'",
        "creation_timestamp >= '2026-01-01T00:00:03'", "last_updated_timestamp < '2026-01-01T00:00:03'",
    ),
}  # fmt: skip


def filters(subject: str) -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(ATOMS[subject]),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
            inner.map(lambda text: f"NOT ({text})"),
        ),
        max_leaves=4,
    )


asked = st.one_of(*(st.tuples(st.just(subject), filters(subject)) for subject in ATOMS))


@pytest.fixture
def small(monkeypatch):
    """Two models are as many as millions."""
    monkeypatch.setattr(finding, "LEAST_AT_ONCE", 1)
    monkeypatch.setattr(finding, "GROWTH", 2)
    monkeypatch.setattr(finding, "ROUNDS", 2)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories, asked, st.integers(1, 3), st.booleans())
def test_what_is_found_is_what_the_views_say(engine, small, history, ask, size, is_ordered):
    _, events = happened(history)
    rows = event_table(events, "w", range(len(events)), START)
    registry = Registry(engine, actor="ada", reading=Reading(overlay={"registry_events": rows}))
    subject, text = ask
    check(registry, subject, text, size, ["last_updated_timestamp DESC"] if is_ordered else None)


def test_each_condition_alone_finds_what_the_views_say(registry, small):
    """Of one model that everything has happened to, and of one that nothing has."""
    for name in ("m", "n"):
        registry.create_model_version(name, source="runs:/r/m", run_id=None, digest=None)
    registry.create_model_version("m", source="s", run_id="two", digest="d", description="one", parent="models:/n/1")
    registry.set_model_version_tag("m", 2, "a", "x")
    registry.set_registered_model_tag("m", "a", "x")
    registry.set_model_version_tag("m", 1, "a", "y")
    registry.update_registered_model("m", "one")
    registry.set_model_alias("m", "a", 1)
    for stage in ("Production", "Archived"):
        registry.transition_model_version_stage("m", 2, stage)
    for subject, texts in ATOMS.items():
        for text in texts:
            check(registry, subject, text, 1, None)


def check(registry, subject, text, size, order) -> None:
    """See that a search finds what the views say, at once and page by page."""
    search = Search(**vars(registered_question(subject, text, order)))

    def found(search, **page):
        if subject == "models":
            entries = registry.search_registered_models(search, **page)
            return [m.name for m in entries], entries.token
        entries = registry.search_model_versions(search, **page)
        return [(v.name, v.version) for v in entries], entries.token

    # Without needs, and all at once, the views are asked of all models.
    expected, _ = found(replace(search, needs=(), on_names=None))
    assert found(search)[0] == expected, text
    paged, token, begun = [], None, False
    while token or not begun:
        some, token = found(search, max_results=size, page_token=token)
        paged, begun = paged + some, True
        assert len(some) <= size
    assert paged == expected, text


@pytest.mark.parametrize(
    ("subject", "text", "needed"),
    [
        ("versions", "tags.a = 'x' AND stage = 'Staging'", 2),
        ("versions", "tags.a = 'x' OR stage = 'Staging'", 1),
        ("versions", "tags.a = 'x' OR stage = 'None'", 0),
        ("versions", "name LIKE 'm%' AND (tags.a = 'x' AND NOT alias = 'a')", 1),
        ("versions", "status = 'READY'", 0),
        ("models", "name LIKE 'm%' AND n_versions > 1", 1),
        ("models", "alias = 'champion'", 1),
        ("models", "NOT tags.a = 'x'", 0),
    ],
)
def test_what_a_search_needs_of_events(subject, text, needed):
    assert len(registered_question(subject, text).needs) == needed


def test_only_the_models_that_may_be_found_are_folded(registry, engine, monkeypatch):
    for n in range(6):
        registry.create_model_version(f"m-{n}", source="runs:/r/m", run_id=None, digest=None)
    registry.set_model_version_tag("m-4", 1, "checked", "yes")
    registry.set_model_version_tag("m-2", 1, "checked", "yes")
    registry.set_model_version_tag("m-2", 1, "checked", "no")
    readings = []
    query = engine.query
    monkeypatch.setattr(engine, "query", lambda sql, **k: readings.append((sql, k["reading"])) or query(sql, **k))
    search = Search(**vars(registered_question("versions", "tags.checked = 'yes'")))
    assert [v.name for v in registry.search_model_versions(search, max_results=10)] == ["m-4"]
    views = [reading for sql, reading in readings if "model_versions" in sql]
    assert [sorted(set(r.instead["registry_events"]["model_name"].to_pylist())) for r in views] == [["m-2", "m-4"]]
