"""Bulk registration does what the same requests do one by one, in one commit, once."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlwarehouse.errors import InvalidInputError, NotFoundError
from mlwarehouse.registry import Registry
from mlwarehouse.tables import REGISTRY_EVENTS

rows = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "c", "d"]),
            "source": st.sampled_from(["runs:/r1/m", "runs:/r2/m"]),
            "run_id": st.none() | st.just("r1"),
            "description": st.none() | st.just("text"),
            "stage": st.none() | st.sampled_from(["Staging", "production"]),
            "alias": st.none() | st.sampled_from(["champion", "candidate"]),
            "parent": st.none() | st.sampled_from(["models:/a/2", "models:/c/latest"]),
            "tags.team": st.none() | st.just("nlp"),
            "tags.a.b": st.none() | st.sampled_from(["1", ""]),
        }
    ),
    max_size=8,
)


def prepare(registry: Registry) -> None:
    """`a` has versions, `b` had some, `c` was another model's name and comes from `e`; `d` never was."""
    for name in ("a", "a", "b", "e"):
        registry.create_model_version(name, source="runs:/r0/m", run_id=None, digest=None)
    registry.delete_registered_model("b")
    registry.rename_registered_model("e", "c")


def one_by_one(registry: Registry, wanted: list[dict]) -> None:
    # What addresses mean before anything is registered.
    parents = {uri: registry.resolve(uri).uri for uri in ("models:/a/2", "models:/c/latest")}
    for row in sorted(wanted, key=lambda r: r["name"]):
        made = registry.create_model_version(
            row["name"],
            source=row["source"],
            run_id=row["run_id"],
            digest=None,
            description=row["description"],
            tags={key: row[f"tags.{key}"] for key in ("team", "a.b") if row[f"tags.{key}"] is not None},
            parent=parents.get(row["parent"]),
        )
        if row["stage"]:
            registry.transition_model_version_stage(row["name"], made.version, row["stage"])
        if row["alias"]:
            registry.set_model_alias(row["name"], row["alias"], made.version)


def told(registry: Registry, prefix: str) -> list[tuple]:
    events = []
    for name in ("a", "b", "c", "d"):
        try:
            events += [(name, e.seq, e.change, e.actor) for e in registry.history(f"{prefix}{name}")]
        except NotFoundError:
            continue
    return events


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows)
def test_many_at_once_are_the_events_of_each(tmp_path_factory, wanted):
    from mlwarehouse.engines.embedded import EmbeddedEngine
    from mlwarehouse.tables import AUDIT

    histories = []
    for do in (one_by_one, lambda r, w: r.bulk_register(pa.Table.from_pylist(w, schema=SCHEMA), source_id="x")):
        engine = EmbeddedEngine(tmp_path_factory.mktemp("wh"))
        engine.create_tables([REGISTRY_EVENTS, AUDIT])
        registry = Registry(engine, actor="ada")
        prepare(registry)
        do(registry, wanted)
        histories.append(told(registry, ""))
        engine.close()
    assert histories[0] == histories[1]


SCHEMA = pa.schema(
    [
        (column, pa.string())
        for column in ("name", "source", "run_id", "description", "stage", "alias", "parent", "tags.team", "tags.a.b")
    ]
)


def test_one_source_is_registered_once(registry, engine):
    frame = pd.DataFrame({"name": ["a", "b", "a"], "source": ["x", "y", "z"], "alias": [None, "champion", "champion"]})
    before = engine.version(REGISTRY_EVENTS)
    done = registry.bulk_register(frame, source_id="monday", comment="nightly")
    assert (done.n_versions, done.n_models, done.is_new) == (3, 2, True)
    assert engine.version(REGISTRY_EVENTS) == before + 1
    again = registry.bulk_register(frame, source_id="monday")
    assert (again.n_versions, again.is_new) == (0, False)
    assert registry.resolve("models:/a@champion").source == "z"
    assert {e.comment for e in registry.history("b")} == {"nightly"}
    # Who registers next is numbered behind them.
    assert registry.create_model_version("a", source="w", run_id=None, digest=None).version == 3
    assert registry.bulk_register({"name": [], "source": []}, source_id="empty").n_versions == 0


def test_who_comes_between_is_not_overwritten(registry, engine, monkeypatch):
    other = Registry(engine, actor="bob")
    append, tries = engine.append_late, []

    def intrude(spec, rows, decide):
        tries.append(rows.num_rows)
        name = {1: "a", 2: "unrelated"}.get(len(tries))
        if name:
            other.create_model_version(name, source="b", run_id=None, digest=None)
        return append(spec, rows, decide)

    monkeypatch.setattr(engine, "append_late", intrude)
    registry.bulk_register({"name": ["a", "c"], "source": ["x", "y"]}, source_id="s")
    assert len(tries) == 2, "the first was decided on an older state, the second was not"
    assert [(v.version, v.user_id) for v in registry.search_model_versions()][:2] == [(2, "ada"), (1, "bob")]
    assert [e.seq for e in registry.history("a")] == [1, 2, 3]
    folder = engine.tables.path(REGISTRY_EVENTS)
    listed = {uri.rpartition("/")[2] for uri in engine.tables.handle(REGISTRY_EVENTS).file_uris()}
    assert {p.name for p in folder.glob("*.parquet")} == listed, "what was refused is gone"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": ["a"]}, "lack the column `source`"),
        ({"name": ["a"], "source": [None]}, "without a text"),
        ({"name": ["a"], "source": [""]}, "without a text"),
        ({"name": [1], "source": ["x"]}, "must be text"),
        ({"name": ["a/b"], "source": ["x"]}, "separate the parts"),
        ({"name": [" "], "source": ["x"]}, "needs a name"),
        ({"name": ["a"], "source": ["x"], "stage": ["Prod"]}, "no stage"),
        ({"name": ["a"], "source": ["x"], "alias": ["v1"]}, "can't be an alias"),
        ({"name": ["a"], "source": ["x"], "alais": ["b"]}, "Did you mean `alias`"),
        ({"name": ["a"], "source": ["x", "y"]}, "of one length"),
        ("a", "can't be registered"),
    ],
)
def test_what_can_not_be_meant_adds_nothing(registry, engine, given, said):
    with pytest.raises(InvalidInputError, match=said):
        registry.bulk_register(given, source_id="s")
    assert engine.version(REGISTRY_EVENTS) == 0
