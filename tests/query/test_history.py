"""Metric histories, single runs, experiments, and SQL."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mlwarehouse import query
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.entities import ViewType
from mlwarehouse.errors import InvalidInputError, NotFoundError, SqlError
from tests.query.conftest import fill


def test_history_has_every_point_in_order(engine: EmbeddedEngine) -> None:
    frame = query.metric_history(engine, run_ids=["c", "a"], keys=["loss"])
    assert frame.columns.tolist() == ["run_id", "key", "step", "value", "timestamp", "context", "attempt"]
    assert frame["run_id"].tolist() == ["a"] * 4 + ["c"] * 2
    assert frame["step"].tolist() == [0, 0, 1, 2, 0, 1]
    assert frame["value"].tolist()[:5] == [0.9, 0.05, 0.3, 0.5, 0.7]
    assert math.isnan(frame["value"].tolist()[5])
    assert frame["context"].tolist()[:2] == [None, '{"subset": "val"}']
    assert str(frame["timestamp"].dtype) == "datetime64[us, UTC]"
    assert frame["attempt"].tolist() == [0] * 6


def test_history_of_everything_and_of_an_experiment(engine: EmbeddedEngine) -> None:
    assert len(query.metric_history(engine)) == 12
    assert query.metric_history(engine, experiment_ids=["e2"])["run_id"].tolist() == ["d"]
    assert query.metric_history(engine, experiment_ids=["e1"], keys=["odd.min"])["value"].tolist() == [7.0]
    assert len(query.metric_history(engine, keys=[])) == 0
    assert isinstance(query.metric_history(engine, output_format="arrow"), pa.Table)


def test_history_refuses_what_is_not_there(engine: EmbeddedEngine) -> None:
    with pytest.raises(NotFoundError, match="There is no run `nobody`"):
        query.metric_history(engine, run_ids=["a", "nobody"])
    with pytest.raises(NotFoundError, match=r"None of the chosen runs has a metric `los`. Did you mean `loss`"):
        query.metric_history(engine, run_ids=["a"], keys=["loss", "los"])
    with pytest.raises(NotFoundError, match="has a metric `top1`"):
        query.metric_history(engine, run_ids=["a"], keys=["top1"])
    with pytest.raises(NotFoundError, match="no experiment with the id `e9`"):
        query.metric_history(engine, experiment_ids=["e9"])
    with pytest.raises(InvalidInputError, match="must be a list"):
        query.metric_history(engine, run_ids="a")


def test_history_of_a_run_that_has_logged_nothing_is_empty(empty_engine: EmbeddedEngine) -> None:
    fill(empty_engine, {"run_events": [{"kind": "started", "experiment_id": "e1", "status": "RUNNING"}]})
    assert len(query.metric_history(empty_engine, run_ids=["r1"], keys=["loss"])) == 0


def test_get_run_finds_deleted_ones_too(engine: EmbeddedEngine) -> None:
    assert query.get_run(engine, None, "gone").info.lifecycle_stage == "deleted"
    assert query.get_run(engine, None, "lost").info.experiment_id == "e3"


def test_get_run_suggests_runs_that_begin_alike(empty_engine: EmbeddedEngine) -> None:
    ids = ["0a6260ceeef68", "0a6260ffff000", "77777"]
    events = [{"run_id": i, "kind": "started", "experiment_id": "e1", "status": "RUNNING"} for i in ids]
    fill(empty_engine, {"run_events": events})
    with pytest.raises(NotFoundError, match=r"no run `0a6260c`. Did you mean `0a6260ceeef68`\?"):
        query.get_run(empty_engine, None, "0a6260c")
    with pytest.raises(NotFoundError, match=r"Did you mean `0a6260ceeef68` or `0a6260ffff000`\?"):
        query.get_run(empty_engine, None, "0a6")
    with pytest.raises(NotFoundError, match=r"Did you mean `0a6260ceeef68`"):
        query.get_run(empty_engine, None, "0a6260ceeef69")
    with pytest.raises(NotFoundError, match=r"no run `zzz`\.$"):
        query.get_run(empty_engine, None, "zzz")


def test_experiments_are_listed_by_their_last_change(engine: EmbeddedEngine) -> None:
    assert [e.name for e in query.list_experiments(engine)] == ["vision", "sentiment"]
    assert [e.name for e in query.list_experiments(engine, view_type=ViewType.DELETED_ONLY)] == ["dropped"]
    assert len(query.list_experiments(engine, view_type=ViewType.ALL)) == 3


def test_one_experiment(engine: EmbeddedEngine) -> None:
    found = query.get_experiment(engine, None, "e1")
    assert (found.name, found.lifecycle_stage, dict(found.tags)) == ("sentiment", "active", {"team": "nlp"})
    assert (found.creation_time, found.last_update_time) == (1772366401000, 1772366402000)
    assert query.get_experiment_by_name(engine, None, "sentiment") == found
    assert query.get_experiment_by_name(engine, None, "nobody") is None
    dropped = query.get_experiment_by_name(engine, None, "dropped")
    assert dropped is not None
    assert dropped.lifecycle_stage == "deleted"
    with pytest.raises(NotFoundError, match=r"no experiment with the id `e11`. Did you mean `e1`"):
        query.get_experiment(engine, None, "e11")


def test_a_name_means_the_active_experiment_that_has_it(empty_engine: EmbeddedEngine) -> None:
    events = [
        {"experiment_id": "old", "kind": "created", "name": "twice"},
        {"experiment_id": "old", "kind": "deleted"},
        {"experiment_id": "new", "kind": "created", "name": "twice"},
        {"experiment_id": "old", "kind": "renamed", "name": "twice"},
    ]
    runs = [{"run_id": i, "kind": "started", "experiment_id": i, "status": "RUNNING"} for i in ("old", "new")]
    fill(empty_engine, {"experiment_events": events, "run_events": runs})
    found = query.get_experiment_by_name(empty_engine, None, "twice")
    assert found is not None
    assert found.experiment_id == "new"
    assert query.search_runs(empty_engine, experiment_names=["twice"])["run_id"].tolist() == ["new"]


def test_sql_answers_in_each_format(engine: EmbeddedEngine) -> None:
    question = (
        "SELECT run_id, min(value) AS best FROM metrics WHERE key = $key AND NOT isnan(value) GROUP BY 1 ORDER BY 1"
    )
    frame = query.sql(engine, None, question, parameters={"key": "loss"})
    assert isinstance(frame, pd.DataFrame)
    assert frame.to_dict("list") == {"run_id": ["a", "b", "c"], "best": [0.05, 0.2, 0.7]}
    assert isinstance(query.sql(engine, None, question, parameters={"key": "loss"}, output_format="arrow"), pa.Table)
    assert isinstance(
        query.sql(engine, None, question, parameters={"key": "loss"}, output_format="polars"), pl.DataFrame
    )
    with pytest.raises(InvalidInputError, match="Did you mean `pandas`"):
        query.sql(engine, None, question, output_format="panda")


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("spark", "SELECT max_by(run_id, started_at) AS r FROM runs WHERE `user_id` = :user"),
        ("postgres", 'SELECT run_id AS r FROM "runs" WHERE user_id = :user ORDER BY started_at DESC LIMIT 1'),
        ("bigquery", "SELECT run_id AS r FROM `runs` WHERE user_id = @user ORDER BY started_at DESC LIMIT 1"),
    ],
)
def test_sql_in_other_dialects(engine: EmbeddedEngine, dialect: str, text: str) -> None:
    frame = query.sql(engine, None, text, dialect=dialect, parameters={"user": "ana"})
    assert frame["r"].tolist() == ["d"]


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("SELECT * FROM nothing", None),
        ("SELECT nothing FROM runs", None),
        ("SELECT * FROM runs WHERE run_id = $a", None),
        ("SELECT 1", {"a": 1}),
        ("DROP TABLE runs", None),
    ],
)
def test_sql_failures_are_ours(engine: EmbeddedEngine, text: str, parameters: dict[str, Any] | None) -> None:
    with pytest.raises(SqlError):
        query.sql(engine, None, text, parameters=parameters)


def test_sql_takes_times_as_parameters(engine: EmbeddedEngine) -> None:
    noon = dt.datetime(2026, 3, 1, 12, 0, 15, tzinfo=dt.UTC)
    frame = query.sql(engine, None, "SELECT count(*) AS n FROM runs WHERE started_at > $t", parameters={"t": noon})
    assert frame["n"].tolist() == [3]


def test_sql_refuses_an_unknown_dialect(engine: EmbeddedEngine) -> None:
    with pytest.raises(SqlError, match="There is no SQL dialect `klingon`"):
        query.sql(engine, None, "SELECT 1", dialect="klingon")


def test_a_frame_is_the_callers_own(engine: EmbeddedEngine) -> None:
    frame = query.metric_history(engine)
    for name in frame.columns:
        frame.loc[0, name] = frame.loc[len(frame) - 1, name]
    assert (frame.iloc[0].dropna() == frame.iloc[-1].dropna()).all()
