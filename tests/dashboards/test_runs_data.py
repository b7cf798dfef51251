import datetime as dt

import pytest

from mlwarehouse.dashboards import runs_data
from mlwarehouse.dashboards.columns import parse_column
from mlwarehouse.dashboards.reader import Reader
from mlwarehouse.errors import FilterError, NotFoundError

from .conftest import FIRST_DAY


@pytest.fixture
def reader(project):
    return Reader(project)


def columns(*tokens):
    return tuple(parse_column(t) for t in tokens)


def test_rows_come_in_the_asked_order_with_each_kind_of_column(reader):
    ids = (f"{5:032x}", f"{0:032x}")
    asked = columns("attributes.experiment_name", "metrics.val/loss", "min.val/loss", "params.lr", "tags.team")
    found = runs_data.rows(reader, ids, asked)
    assert found.columns.tolist() == ["run_id", *[c.token for c in asked]]
    assert found["run_id"].tolist() == list(ids)
    assert found["attributes.experiment_name"].tolist() == ["sentiment", "reranker"]
    assert (found["min.val/loss"] <= found["metrics.val/loss"]).all()
    assert set(found["params.lr"]) <= {"0.0003", "0.001", "0.003"}
    assert set(found["tags.team"]) <= {"nlp", "search"}


def test_what_a_run_lacks_is_null(warehouse, builder):
    builder.experiment("e1", "sentiment")
    builder.run("r1", "e1", "a", metrics={"loss": [0.5]}, params={"lr": "1"})
    builder.run("r2", "e1", "b")
    builder.write()
    found = runs_data.rows(Reader(warehouse), ("r2", "r1"), columns("metrics.loss", "params.lr", "tags.none"))
    assert found["metrics.loss"].isna().tolist() == [True, False]
    assert found["params.lr"].isna().tolist() == [True, False]
    assert found["tags.none"].isna().all()


def test_only_what_is_asked_for_is_read(project):
    reader = Reader(project)
    project.asked.clear()
    runs_data.rows(reader, (f"{0:032x}",), columns("attributes.run_name", "params.lr"))
    assert not any("metric_summaries" in text or "FROM tags" in text for text in project.asked)


def test_no_runs_have_all_columns_and_no_rows(reader):
    found = runs_data.rows(reader, (), columns("attributes.run_name", "metrics.val/loss"))
    assert found.columns.tolist() == ["run_id", "attributes.run_name", "metrics.val/loss"]
    assert found.empty


def test_all_rows_are_read_in_bundles(reader, monkeypatch):
    monkeypatch.setattr(runs_data, "_BUNDLE", 30)
    ids = [f"{i:032x}" for i in range(72)]
    found = runs_data.all_rows(reader, ids, columns("attributes.run_name"))
    assert found["run_id"].tolist() == ids
    assert runs_data.all_rows(reader, [], columns("attributes.run_name")).empty


def test_default_columns_are_few_and_telling(reader):
    chosen = runs_data.default_columns(reader, ())
    assert chosen[-4:] == ("metrics.val/accuracy", "metrics.val/loss", "params.dim", "params.lr")
    assert chosen[: len(runs_data.DEFAULT_ATTRIBUTES)] == tuple(f"attributes.{a}" for a in runs_data.DEFAULT_ATTRIBUTES)


def test_the_chooser_offers_what_matches(reader):
    assert [c.token for c in runs_data.offered_columns(reader, "VAL/L")] == [
        "metrics.val/loss", "min.val/loss", "max.val/loss",
    ]  # fmt: skip
    assert [c.token for c in runs_data.offered_columns(reader, "team")] == ["tags.team"]
    assert runs_data.offered_columns(reader, "no such thing") == []
    assert len(runs_data.offered_columns(reader, "", limit=5)) == 5


def test_a_filter_picks_and_an_order_sorts(reader):
    ids = reader.run_ids((), "metrics.`val/loss` < 0.5", ("metrics.`val/loss` ASC",))
    losses = runs_data.rows(reader, tuple(ids), columns("metrics.val/loss"))["metrics.val/loss"]
    assert 0 < len(ids) < 72
    assert losses.max() < 0.5
    assert losses.is_monotonic_increasing
    assert reader.run_ids(("e2",), "", ()) == [f"{i:032x}" for i in range(69, -1, -3)]


def test_every_orderable_column_can_be_ordered_by(reader):
    for token in ("run_name", "experiment_name", "outcome", "started_at", "duration_s", "user_id", "run_id"):
        for direction in ("asc", "desc"):
            entry = parse_column(f"attributes.{token}").order_by(direction)
            assert len(reader.run_ids((), "", (entry,))) == 72
    for token in ("metrics.val/loss", "min.val/loss", "params.lr", "tags.team"):
        assert len(reader.run_ids((), "", (parse_column(token).order_by("desc"),))) == 72


def test_a_malformed_filter_and_a_missing_experiment_are_errors(reader):
    with pytest.raises(FilterError):
        reader.run_ids((), "metrics.`val/loss` <", ())
    with pytest.raises(NotFoundError):
        reader.points(("no such run",), "val/loss")


def test_curves_are_named_thinned_and_in_the_asked_order(warehouse, builder):
    builder.experiment("e1", "sentiment")
    builder.run("r1", "e1", "long", metrics={"loss": [float(i % 97) for i in range(5_000)]})
    builder.run("r2", "e1", "short", metrics={"loss": [2.0, 1.0]})
    builder.run("r3", "e1", "split", metrics={"loss": [3.0]}, context={"subset": "val"})
    builder.write()
    found = runs_data.curves(Reader(warehouse), ("r3", "r2", "r1"), "loss")
    sizes = found.groupby("series", sort=False).size()
    assert sizes.index.tolist() == ['split {"subset": "val"}', "short", "long"]
    assert sizes["long"] <= runs_data.MAX_POINTS
    long = found[found["series"] == "long"]
    assert long["step"].is_monotonic_increasing
    assert (long["value"].min(), long["value"].max()) == (0.0, 96.0)


def test_metric_keys_of_some_runs_are_those_with_most_points_first(warehouse, builder):
    builder.experiment("e1", "sentiment")
    builder.run("r1", "e1", "a", FIRST_DAY + dt.timedelta(days=1), metrics={"rare": [1.0], "loss": [1.0, 2.0]})
    builder.run("r2", "e1", "b", metrics={"other": [1.0]})
    builder.write()
    assert runs_data.metric_keys(Reader(warehouse), ("r1",)) == ["loss", "rare"]
    assert runs_data.metric_keys(Reader(warehouse), ()) == []
