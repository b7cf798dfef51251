"""The filter language over registered models and versions, held against plain Python."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.errors import FilterError
from mlwarehouse.query.registered import registered_question
from mlwarehouse.registry import Registry, Search
from mlwarehouse.tables import AUDIT, REGISTRY_EVENTS


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    engine = EmbeddedEngine(tmp_path_factory.mktemp("wh") / "tables")
    engine.create_tables([REGISTRY_EVENTS, AUDIT])
    registry = Registry(engine, actor="ada")

    def version(name: str, run_id: str | None, **more):
        registry.create_model_version(name, source=f"runs:/{run_id}/m", run_id=run_id, digest=None, **more)

    version("b", "r1", tags={"team": "nlp", "acc.test": "0.9"})
    version("a", "r1", description="the first")
    version("a", "r'2", tags={"team": "vision"})
    version("a", None, parent="models:/a/2")
    registry.create_registered_model("empty", tags={"team": "nlp"})
    registry.set_model_alias("a", "champion", 2)
    registry.transition_model_version_stage("a", 2, "Production")
    registry.transition_model_version_stage("b", 1, "Staging")
    yield registry
    engine.close()


VERSIONS = {
    "": ["a/3", "a/2", "a/1", "b/1"],
    "name = 'a'": ["a/3", "a/2", "a/1"],
    "name='b' OR version_number >= 3": ["a/3", "b/1"],
    "run_id = 'r1'": ["a/1", "b/1"],
    'name = "a" and run_id = "r\'2"': ["a/2"],
    "name ILIKE 'A%' AND run_id != 'r1'": ["a/2"],
    "run_id IS NULL": ["a/3"],
    "NOT run_id = 'r1'": ["a/2"],
    "stage = 'production'": ["a/2"],
    "current_stage IN ('Production', 'Staging')": ["a/2", "b/1"],
    "stage NOT IN ('Production', 'None')": ["b/1"],
    "version BETWEEN 2 AND 3": ["a/3", "a/2"],
    "2 < version": ["a/3"],
    "tags.team = 'nlp'": ["b/1"],
    "tags.team != 'nlp'": ["a/2"],
    "tag.`acc.test` = '0.9' OR tags.acc.test = '0.8'": ["b/1"],
    "tags.team IS NULL": ["a/3", "a/1"],
    "tags.team LIKE 'v%' OR tags.team = 'nlp'": ["a/2", "b/1"],
    "alias = 'champion'": ["a/2"],
    "alias IS NULL AND name = 'a'": ["a/3", "a/1"],
    "NOT alias = 'champion' AND name = 'a'": ["a/3", "a/1"],
    "parent = 'models:/a/2'": ["a/3"],
    "description LIKE '%first'": ["a/1"],
    "attributes.user_id = 'ada' AND source_path LIKE 'runs:/r1/%'": ["a/1", "b/1"],
    "created_at >= '2026-03-01T00:00:00Z' AND created_at < 0": [],
    "creation_timestamp > 0 AND name NOT LIKE 'a'": ["b/1"],
    "name = 'nobody'": [],
}

MODELS = {
    "": ["a", "b", "empty"],
    "name LIKE 'e%'": ["empty"],
    "tags.team = 'nlp'": ["empty"],
    "n_versions = 0 OR latest_version = 3": ["a", "empty"],
    "alias = 'champion'": ["a"],
    "NOT (alias LIKE 'ch%') AND n_versions > 0": ["b"],
    "last_updated_timestamp > 0": ["a", "b", "empty"],
}


@pytest.mark.parametrize("text", VERSIONS)
def test_versions_are_found(filled, text):
    search = Search(**vars(registered_question("versions", text)))
    assert [f"{v.name}/{v.version}" for v in filled.search_model_versions(search)] == VERSIONS[text]


@pytest.mark.parametrize("text", MODELS)
def test_models_are_found(filled, text):
    search = Search(**vars(registered_question("models", text)))
    assert [m.name for m in filled.search_registered_models(search)] == MODELS[text]


def test_only_names_need_no_view():
    for text in ("", "name = 'a'", "NOT (name LIKE 'a%' OR 'b' = name)"):
        assert registered_question("models", text).on_names is not None
    for text in ("tags.a = 'x'", "name = 'a' AND n_versions > 1", "alias IS NULL"):
        assert registered_question("models", text).on_names is None
    assert registered_question("models", "", ["name DESC"]).on_names is None


def test_the_order_is_as_asked(filled):
    def ordered(subject, *order):
        search = Search(**vars(registered_question(subject, None, order)))
        if subject == "models":
            return [m.name for m in filled.search_registered_models(search)]
        return [f"{v.name}/{v.version}" for v in filled.search_model_versions(search)]

    assert ordered("models", "name DESC") == ["empty", "b", "a"]
    assert ordered("models", "last_updated_timestamp desc") == ["b", "a", "empty"]
    assert ordered("versions", "tags.team", "version_number") == ["b/1", "a/2", "a/1", "a/3"]
    with pytest.raises(FilterError, match="must be a list"):
        registered_question("models", "", "name")
    with pytest.raises(FilterError, match="isn't a name"):
        registered_question("models", "", ["1 + 1"])


@pytest.mark.parametrize(
    "text",
    [
        "name",
        "name =",
        "name = a",
        "name = 'a' AND",
        "nmae = 'a'",
        "name = 'a'; name = 'b'",
        "1=1",
        "'",
        "name > 'a'",
        "name = 1",
        "name = NULL",
        "version = 'one'",
        "stage = 'Productoin'",
        "metrics.loss < 1",
        "name = (SELECT name FROM model_versions)",
        "name IN (SELECT 'a')",
        "lower(name) = 'a'",
        "created_at = 'yesterday'",
        "name SIMILAR TO 'a'",
    ],
)
def test_a_filter_that_is_not_understood_is_refused(text):
    with pytest.raises(FilterError):
        registered_question("versions", text)
