"""Searches on a small warehouse: which runs are found, and what the frame is like."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import yaml

from mlwarehouse import Warehouse, query
from mlwarehouse.engines.base import Reading
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.spark import SparkEngine
from mlwarehouse.entities import ViewType
from mlwarehouse.errors import FilterError, InvalidInputError, NotFoundError
from mlwarehouse.query.scoping import LISTED_RUNS
from tests.query.conftest import CASES, fill
from tests.views.rows import tables

SEARCHES: list[dict[str, Any]] = yaml.safe_load((CASES / "search.yml").read_text(encoding="utf-8"))["searches"]


def arguments(case: dict[str, Any]) -> dict[str, Any]:
    names = case.get("names", None if "ids" in case else ["sentiment"])
    return {
        "experiment_ids": case.get("ids"),
        "experiment_names": None if names == "all" else names,
        "search_all_experiments": names == "all",
        "filter_string": case.get("filter", ""),
        "order_by": case.get("order"),
        "run_view_type": ViewType[case.get("view", "ACTIVE_ONLY")],
        "max_results": case.get("limit", 1000),
        "offset": case.get("offset", 0),
    }


@pytest.mark.parametrize("case", SEARCHES, ids=str)
def test_finds(engine: EmbeddedEngine, case: dict[str, Any]) -> None:
    found = query.search_runs(engine, **arguments(case))
    assert found["run_id"].tolist() == case["finds"]


@pytest.mark.spark
@pytest.mark.parametrize(
    "text",
    [
        '(metrics.loss > 0.1 OR metrics.`loss {"subset": "val"}` < 0.1) AND tags.size > 9 AND datasets.name = \'yelp\'',
        "params.lr < 1 AND start_time <= 1772366430000 AND run_name ILIKE 'B%' OR params.opt NOT IN ('sgd')",
        "metrics.loss.at_step(0) > number(params.lr) AND params.opt NOT LIKE 'C:\\temp_%' AND metrics.loss.min < 1",
    ],
)
def test_finds_the_same_on_spark(engine: EmbeddedEngine, spark: Any, text: str) -> None:
    question = {"experiment_names": ["sentiment"], "filter_string": text, "order_by": ["metrics.loss DESC"]}
    expected = query.search_runs(engine, **question)
    found = query.search_runs(SparkEngine(spark, engine.tables.folder), **question)
    pd.testing.assert_frame_equal(found, expected)


def test_frame_has_mlflows_columns_and_types(engine: EmbeddedEngine) -> None:
    frame = query.search_runs(engine, experiment_names=["sentiment"])
    assert frame.columns.tolist() == [
        "run_id",
        "experiment_id",
        "status",
        "artifact_uri",
        "start_time",
        "end_time",
        "metrics.loss",
        'metrics.loss {"subset": "val"}',
        "metrics.odd",
        "metrics.odd.min",
        "metrics.val/acc",
        "params.limit",
        "params.lr",
        "params.opt",
        "tags.mlflow.user",
        "tags.size",
        "tags.team",
    ]
    for column, dtype in frame.dtypes.items():
        expected = "datetime64[ns, UTC]" if "_time" in column else "float64" if "metrics." in column else "object"
        assert str(dtype) == expected, column
    by_run = frame.set_index("run_id")
    assert by_run.loc["a", "metrics.loss"] == 0.5
    assert np.isnan(by_run.loc["c", "metrics.loss"])
    assert by_run.loc["b", "metrics.val/acc"] == np.inf
    assert np.isnan(by_run.loc["c", "metrics.val/acc"])
    assert by_run.loc["c", "params.opt"] is None
    assert by_run.loc["c", "tags.team"] is None
    assert by_run.loc["a", "artifact_uri"] == "runs:/a"
    assert by_run.loc["a", "start_time"] == pd.Timestamp("2026-03-01T12:00:10Z")
    assert by_run.loc["c", "end_time"] is pd.NaT


def test_nothing_found_is_a_typed_frame(engine: EmbeddedEngine) -> None:
    frame = query.search_runs(engine, experiment_names=["sentiment"], filter_string="tags.team = 'nobody'")
    assert frame.columns.tolist() == ["run_id", "experiment_id", "status", "artifact_uri", "start_time", "end_time"]
    assert len(frame) == 0
    assert str(frame["start_time"].dtype) == "datetime64[ns, UTC]"


def test_columns_are_those_asked_for_in_order(engine: EmbeddedEngine) -> None:
    wanted = ["metrics.loss.min", "run_id", "params.lr", "metrics.loss", "tags.nobody", "metrics.odd.min", "run_name"]
    frame = query.search_runs(engine, experiment_names=["sentiment"], columns=wanted, order_by=["run_id"])
    assert frame.columns.tolist() == wanted
    assert frame["metrics.loss.min"].tolist() == [0.3, 0.2, 0.7]
    assert frame["params.lr"].tolist() == ["0.1", "0.010", "auto"]
    assert frame["tags.nobody"].tolist() == [None, None, None]
    assert frame["metrics.odd.min"].tolist()[1] == 7.0  # the metric of this name, not the minimum of `odd`
    assert frame["run_name"].tolist() == ["bag", "lstm", "bert"]


def test_columns_at_a_step(engine: EmbeddedEngine) -> None:
    wanted = [
        "metrics.loss.at_step(0)",
        "metrics.loss.at_step(1)",
        "metrics.`val/acc`.at_step(0)",
        'metrics.loss {"subset": "val"}.at_step(0)',
        "metrics.loss.at_step(-7)",
        "metrics.loss",
    ]
    frame = query.search_runs(engine, experiment_names=["sentiment"], columns=wanted, order_by=["run_id"])
    assert frame.columns.tolist() == wanted
    expected = [[0.9, 0.2, 0.7], [0.3, np.nan, np.nan], [0.8, np.inf, np.nan], [0.05, np.nan, np.nan], [np.nan] * 3]
    for column, values in zip(wanted, expected, strict=False):
        np.testing.assert_array_equal(frame[column], values)
        assert frame[column].dtype == np.float64
    arrow = query.search_runs(
        engine, experiment_names=["sentiment"], columns=wanted, order_by=["run_id"], output_format="arrow"
    )
    assert arrow.column("metrics.loss.at_step(1)").null_count == 1, "c has NaN there, b has nothing"
    with pytest.raises(NotFoundError, match="Did you mean `loss`"):
        query.search_runs(engine, experiment_names=["sentiment"], columns=["metrics.los.at_step(1)"])


def test_the_chosen_experiment_is_for_questions_that_name_none(tmp_path: Path) -> None:
    with closing(Warehouse(tmp_path / "wh", committer="off", capture_code=False)) as warehouse:
        for name in ("one", "two"):
            with warehouse.start_run(experiment=name, run_name=name):
                pass
        warehouse.set_experiment("one")
        two = warehouse.get_experiment_by_name("two")

        def found(**question: Any) -> list[str]:
            return sorted(run.info.run_name for run in warehouse.search_runs(output_format="list", **question))

        assert found() == ["one"]
        assert found(search_all_experiments=True) == ["one", "two"]
        assert found(experiment_names=["two"]) == ["two"]
        assert found(experiment_ids=[two.experiment_id], experiment_names=[]) == ["two"]
        assert found(experiment_ids=[]) == found(experiment_names=[]) == []


def test_a_wildcard_stands_for_all_of_a_kind(engine: EmbeddedEngine) -> None:
    frame = query.search_runs(
        engine,
        experiment_names=["sentiment"],
        columns=["status", "params.*", "metrics.loss.count"],
        order_by=["run_id"],
    )
    assert frame.columns.tolist() == ["status", "params.limit", "params.lr", "params.opt", "metrics.loss.count"]
    assert frame["metrics.loss.count"].tolist() == [3, 1, 2]


def test_only_what_the_columns_need_is_loaded(engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = engine.query
    monkeypatch.setattr(engine, "query", lambda sql, **rest: asked.append(sql) or real(sql, **rest))
    query.search_runs(engine, experiment_names=["sentiment"], columns=["run_id", "params.lr"])
    assert not [sql for sql in asked if "metric_summaries" in sql or "tags" in sql.lower().split("from")[-1]]


@pytest.mark.parametrize("title", ["foo", "foo.bar", "datasets.name", "metrics.los", "params.rl", "attributes.statsu"])
def test_unknown_columns_are_refused(engine: EmbeddedEngine, title: str) -> None:
    with pytest.raises(NotFoundError, match=title.partition(".")[2] or title):
        query.search_runs(engine, experiment_names=["sentiment"], columns=[title])


def test_formats_hold_the_same(engine: EmbeddedEngine) -> None:
    expected = query.search_runs(engine, experiment_names=["sentiment"])
    arrow = query.search_runs(engine, experiment_names=["sentiment"], output_format="arrow")
    assert isinstance(arrow, pa.Table)
    assert arrow.schema.field("start_time").type == pa.timestamp("us", tz="UTC")
    assert arrow.column("metrics.val/acc").null_count == 1, "what is missing is null, not NaN"
    assert arrow.column("metrics.loss").null_count == 0, "NaN is a value"
    assert arrow.column_names == expected.columns.tolist()
    polars = query.search_runs(engine, experiment_names=["sentiment"], output_format="polars")
    assert isinstance(polars, pl.DataFrame)
    assert polars["run_id"].to_list() == expected["run_id"].tolist()


def test_list_has_runs(engine: EmbeddedEngine) -> None:
    runs = query.search_runs(engine, experiment_names=["sentiment"], output_format="list")
    assert [r.run_id for r in runs] == ["c", "b", "a"]
    last = runs[-1]
    assert last.info.run_name == "bag"
    assert last.info.start_time == 1772366410000
    assert last.info.end_time == 1772366470000
    assert last.info.lifecycle_stage == "active"
    assert last.data.metrics["loss"] == 0.5
    assert last.data.params == {"lr": "0.1", "opt": "sgd"}
    assert last.data.tags == {"mlflow.user": "ana", "size": "12", "team": "nlp"}
    assert runs[0].info.start_time == 1772366430000, "cut to milliseconds"
    assert runs[0].info.end_time is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrics.los < 1", r"Unknown metric `metrics.los`.* Did you mean `loss`"),
        ("params.rl = 'x' OR params.rl = 'y'", r"Unknown param `params.rl`.* \(3 param keys"),
        ("status = 'RUNNING' AND metrics.`val/ac` < 1", r"Did you mean `val/acc`"),
        ("metrics.top1 > 0", "none of the searched runs has it"),
    ],
)
def test_unknown_keys_are_refused(engine: EmbeddedEngine, text: str, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        query.search_runs(engine, experiment_names=["sentiment"], filter_string=text)
    found = query.search_runs(engine, experiment_names=["sentiment"], filter_string=text, unknown_keys="ignore")
    assert len(found) == 0


def test_unknown_keys_of_an_order_are_refused(engine: EmbeddedEngine) -> None:
    with pytest.raises(FilterError, match="Did you mean `loss`"):
        query.search_runs(engine, experiment_names=["sentiment"], order_by=["metrics.losss"])
    with pytest.raises(FilterError, match=r"`metrics.loss` twice"):
        query.search_runs(engine, experiment_names=["sentiment"], order_by=["metrics.loss", "metrics.loss.last DESC"])


@pytest.mark.parametrize(
    "entry", ["", "metrics.loss DOWN", "metrics.loss < 1", "datasets.name", "metrics.loss ASC, run_id"]
)
def test_order_entries_that_are_refused(engine: EmbeddedEngine, entry: str) -> None:
    with pytest.raises(FilterError):
        query.search_runs(engine, experiment_names=["sentiment"], order_by=[entry])


def test_keys_cannot_be_unknown_where_nothing_is_logged(empty_engine: EmbeddedEngine) -> None:
    question: dict[str, Any] = {"filter_string": "metrics.loss < 1 AND params.lr = 'x'", "order_by": ["metrics.acc"]}
    assert len(query.search_runs(empty_engine, **question)) == 0
    fill(empty_engine, {"run_events": [{"kind": "started", "experiment_id": "e1", "status": "RUNNING"}]})
    fill(empty_engine, {"experiment_events": [{"experiment_id": "e1", "kind": "created", "name": "new"}]})
    assert len(query.search_runs(empty_engine)) == 1
    assert len(query.search_runs(empty_engine, **question)) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"experiment_names": "sentiment"},
        {"experiment_ids": ["e1"], "experiment_names": ["vision"]},
        {"experiment_ids": ["e1"], "search_all_experiments": True},
        {"max_results": -1},
        {"max_results": 1.5},
        {"offset": True},
        {"run_view_type": 9},
        {"order_by": "metrics.loss"},
        {"output_format": "spreadsheet"},
        {"output_format": "list", "columns": ["run_id"]},
    ],
    ids=str,
)
def test_arguments_that_are_refused(engine: EmbeddedEngine, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        query.search_runs(engine, **wrong)


def test_unknown_experiments_are_refused(engine: EmbeddedEngine) -> None:
    with pytest.raises(NotFoundError, match="Did you mean `sentiment`"):
        query.search_runs(engine, experiment_names=["sentimen"])
    with pytest.raises(NotFoundError, match="no experiment with the id `nine`"):
        query.search_runs(engine, experiment_ids=["e1", "nine"])


def test_a_reading_is_passed_through(engine: EmbeddedEngine) -> None:
    new = tables(
        {
            "run_events": [{"run_id": "new", "kind": "started", "experiment_id": "e1", "status": "RUNNING", "at": 99}],
            "metrics": [
                {"run_id": "new", "key": "loss", "value": 0.125},
                {"run_id": "a", "key": "loss", "step": 9, "value": 4},
            ],
        }
    )
    frame = query.search_runs(
        engine, Reading(overlay=new), experiment_names=["sentiment"], filter_string="metrics.loss > 0.1"
    )
    assert dict(zip(frame["run_id"], frame["metrics.loss"], strict=True)) == {"new": 0.125, "b": 0.2, "a": 4.0}


def test_long_and_odd_sized_pages_have_all_their_runs(empty_engine: EmbeddedEngine) -> None:
    count = LISTED_RUNS + 52
    ids = [f"r{n:05}" for n in range(count)]
    fill(
        empty_engine,
        {
            "experiment_events": [{"experiment_id": "e1", "kind": "created", "name": "big"}],
            "run_events": [{"run_id": i, "kind": "started", "experiment_id": "e1", "status": "RUNNING"} for i in ids],
            "metrics": [{"run_id": i, "key": "n", "value": n} for n, i in enumerate(ids)],
            "tag_events": [{"run_id": i, "key": "odd", "value": "yes"} for i in ids[1::2]],
        },
    )
    for limit in (1, 2, 3, 1000, LISTED_RUNS, count):
        frame = query.search_runs(empty_engine, max_results=limit, order_by=["run_id"])
        assert frame["run_id"].tolist() == ids[:limit]
        assert frame["metrics.n"].tolist() == list(range(limit))
        if limit > 1:
            assert frame["tags.odd"].notna().tolist() == [n % 2 == 1 for n in range(limit)]


def test_long_filters_are_answered_or_refused_in_words(engine: EmbeddedEngine) -> None:
    def asked(n: int) -> str:
        return " OR ".join(f"metrics.loss < {number}" for number in range(n))

    assert len(query.search_runs(engine, filter_string=asked(300))) > 0
    for text in (asked(5000), f"{'(' * 3000}metrics.loss < 1{')' * 3000}"):
        with pytest.raises(FilterError, match="too long or nested too deeply"):
            query.search_runs(engine, filter_string=text)
