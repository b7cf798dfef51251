"""Where a search deliberately differs from MLflow's: each row of the table in ``docs/querying.md``, on both sides.

`test_mlflow_generated` shows that there is nothing else, as far as chance finds it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from mlwarehouse import query
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.errors import InvalidInputError, NotFoundError, WarehouseError
from mlwarehouse.tables import TABLES
from tests.query.conftest import fill
from tests.query.peer import FIRST, empty_rows, log_to_mlflow, log_to_tables, mlflow_frame

# SQLAlchemy's word about how MLflow uses it.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

PAGE = Path(__file__).parents[2] / "docs" / "querying.md"

RUNS: dict[str, dict[str, Any]] = {
    "plain": {"metrics": [("loss", 0.5, 0, FIRST), ("loss", 0.25, 1, FIRST)], "params": {"lr": "0.1", "quote": "it's"}},
    "infinite": {"metrics": [("loss", math.inf, 0, FIRST)]},
    "tied": {"metrics": [("tied", math.nan, 0, FIRST), ("tied", 3.0, 0, FIRST)]},
    "umlaut": {"params": {"word": "ÜBER"}},
    "long": {"params": {"text": "x" * 7000}, "tags": {"text": "x" * 9000}},
    "twice": {"datasets": [("yelp", "d1", "training"), ("yelp", "d1", "eval")]},
}


@pytest.fixture(scope="module")
def stores(mlflow_client: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, EmbeddedEngine]]:
    folder = tmp_path_factory.mktemp("differences")
    experiment_id = mlflow_client.create_experiment("differences", artifact_location=str(folder / "artifacts"))
    rows = empty_rows({experiment_id: "differences"})
    for name, given in RUNS.items():
        nothing: dict[str, Any] = {"metrics": [], "params": {}, "tags": {}, "datasets": []}
        run = nothing | {"name": name, "start": FIRST, "end": None, "status": "RUNNING", "deleted": False} | given
        log_to_tables(rows, log_to_mlflow(mlflow_client, experiment_id, run), experiment_id, run, mlflow_client)
    # What MLflow has cut is whole here.
    long = next(row for row in rows["param_events"] if row["key"] == "text")
    next(row for row in rows["tag_events"] if row["key"] == "text")["value"] = "x" * 9000
    assert len(long["value"]) == 7000
    engine = EmbeddedEngine(folder / "tables")
    engine.create_tables(TABLES)
    fill(engine, rows)
    yield experiment_id, engine
    engine.close()


def theirs(stores: tuple[str, EmbeddedEngine], text: str = "", **options: Any) -> pd.DataFrame:
    import mlflow

    frame: pd.DataFrame = mlflow.search_runs(**({"experiment_ids": [stores[0]]} | options), filter_string=text)
    return frame


def ours(stores: tuple[str, EmbeddedEngine], text: str = "", **options: Any) -> pd.DataFrame:
    frame: pd.DataFrame = query.search_runs(
        stores[1], **({"experiment_ids": [stores[0]]} | options), filter_string=text
    )
    return frame


def names(frame: pd.DataFrame) -> list[str]:
    return sorted(frame["tags.mlflow.runName"]) if len(frame) else []


EXTENSIONS: dict[str, list[str]] = {
    "metrics.loss < 1 OR params.word = 'ÜBER'": ["plain", "umlaut"],
    "NOT metrics.loss < 1": ["infinite"],
    "(metrics.loss < 1)": ["plain"],
    "metrics.loss BETWEEN 0 AND 1": ["plain"],
    "metrics.loss IN (0.25, 1)": ["plain"],
    "metrics.loss < metrics.loss.first": ["plain"],
    "metrics.loss < 1e+3": ["plain"],
    "metrics.loss == 0.25": ["plain"],
    "metrics.loss <> 0.25": ["infinite"],
    "metrics.loss < +1": ["plain"],
    "1 > metrics.loss": ["plain"],
    "metrics.loss IS NOT NULL": ["infinite", "plain"],
    "params.lr < 0.5": ["plain"],
    "params.lr = 0.10": ["plain"],
    "number(params.lr) IS NOT NULL": ["plain"],
    "params.lr IN ('0.1')": ["plain"],
    "params.lr NOT LIKE '1%'": ["plain"],
    "params.lr NOT IN ('1')": ["plain"],
    "run_name IN ('plain', 'long')": ["long", "plain"],
    "datasets.name IS NOT NULL": ["twice"],
    "end_time IS NULL AND datasets.digest IS NOT NULL": ["twice"],
    "start_time > '2026-03-01' AND run_name = 'plain'": ["plain"],
    "experiment_name = 'differences' AND run_name = 'plain'": ["plain"],
    "lifecycle_stage = 'active' AND run_name = 'plain'": ["plain"],
    "attempt = 0 AND run_name = 'plain'": ["plain"],
    "run_name = 'plain' /* a comment */": ["plain"],
    "params.case IS NULL AND run_name = 'plain'": ["plain"],
}


@pytest.mark.parametrize("text", EXTENSIONS)
def test_beyond_mlflow(stores: tuple[str, EmbeddedEngine], text: str) -> None:
    with pytest.raises(MlflowException):
        theirs(stores, text)
    assert names(ours(stores, text)) == EXTENSIONS[text]


REFUSED = (
    "metrics.loss < 'a'",
    "metrics.loss = NULL",
    "metrics.loss < nan",
    "metrics.loss LIKE '1%'",
    "metrics.loss <",
    "metrics.loss",
    "metrics.val/acc < 1",
    "metrics.top-5 > 0",
    "metrics.loss < 1; metrics.loss > 0",
    "metrics.loss < 1, metrics.loss > 0",
    "METRICS.loss < 1",
    "metricz.loss < 1",
    "loss < 1",
    "params.lr = auto",
    "params.lr = `0.1`",
    "params.lr > '0.1'",
    "params.lr LIKE 3",
    "params.lr RLIKE 'x'",
    "params.lr = 'open",
    "status = FINISHED",
    "status > 'A'",
    "STATUS = 'FINISHED'",
    "attributes.nope = 'x'",
    "start_time LIKE '2%'",
    "run_id IN ()",
    "run_id IN (a)",
    "run_id IN ('a', 3)",
    "datasets.name = 3",
    "datasets.name IN ()",
    "datasets.source = 'x'",
    "1 = 1",
)


@pytest.mark.parametrize("text", REFUSED)
def test_refused_by_both(stores: tuple[str, EmbeddedEngine], text: str) -> None:
    with pytest.raises(MlflowException):
        theirs(stores, text)
    with pytest.raises(WarehouseError):
        ours(stores, text)


STRICTER: dict[str, str] = {
    "metrics.loss < 1 AND": "something is missing after `AND`",
    "AND": "something is missing",
    "params.lr = '0.1' params.quote = 'x'": "unexpected `.`",
    "params.quote = 'it\\'s'": "a quote isn't closed",
    "status = 'finished'": "Did you mean `FINISHED`",
    "metrics.los < 1": "Did you mean `loss`",
    "params.rl = '0.1'": "Unknown param `params.rl`",
}


@pytest.mark.parametrize("text", STRICTER)
def test_slips_are_refused_that_mlflow_answers(stores: tuple[str, EmbeddedEngine], text: str) -> None:
    theirs(stores, text)
    with pytest.raises(WarehouseError) as caught:
        ours(stores, text)
    assert STRICTER[text] in str(caught.value)


@pytest.mark.parametrize("order", ["metrics.loss NULLS LAST", "metrics.loss DOWN", "", "loss", "datasets.name"])
def test_orders_refused_by_both(stores: tuple[str, EmbeddedEngine], order: str) -> None:
    with pytest.raises(MlflowException):
        theirs(stores, order_by=[order])
    with pytest.raises(WarehouseError):
        ours(stores, order_by=[order])


def test_a_doubled_quote_is_one(stores: tuple[str, EmbeddedEngine]) -> None:
    assert names(theirs(stores, "params.quote = 'it''s'")) == []
    assert names(ours(stores, "params.quote = 'it''s'")) == ["plain"]
    assert names(theirs(stores, 'params.quote = "it\'s"')) == names(ours(stores, 'params.quote = "it\'s"')) == ["plain"]


def test_a_statistic_follows_a_metrics_name(stores: tuple[str, EmbeddedEngine]) -> None:
    for text in ("metrics.loss.max < 1", "metrics.loss.at_step(0) = 0.5"):
        assert names(theirs(stores, text)) == []
        assert names(ours(stores, text)) == ["plain"]


def test_ilike_knows_all_letters(stores: tuple[str, EmbeddedEngine]) -> None:
    assert names(theirs(stores, "params.word ILIKE 'über'")) == []
    assert names(ours(stores, "params.word ILIKE 'über'")) == ["umlaut"]


def test_nan_among_values_of_one_moment(stores: tuple[str, EmbeddedEngine]) -> None:
    assert names(theirs(stores, "metrics.tied = 3")) == ["tied"]
    assert names(ours(stores, "metrics.tied = 3")) == []
    assert names(ours(stores, "metrics.tied.max = 3")) == ["tied"]


def test_an_infinity_is_one(stores: tuple[str, EmbeddedEngine]) -> None:
    found = theirs(stores, "metrics.loss > 1")["metrics.loss"].tolist()
    assert found == [sys.float_info.max]
    assert ours(stores, "metrics.loss > 1")["metrics.loss"].tolist() == [math.inf]
    assert mlflow_frame([stores[0]], filter_string="metrics.loss > 1")["metrics.loss"].tolist() == [math.inf]


def test_texts_are_whole(stores: tuple[str, EmbeddedEngine]) -> None:
    cut, whole = (find(stores, "run_name = 'long'").iloc[0] for find in (theirs, ours))
    assert (len(cut["params.text"]), len(cut["tags.text"])) == (6000, 8000)
    assert (len(whole["params.text"]), len(whole["tags.text"])) == (7000, 9000)


def test_a_dataset_has_all_its_contexts(stores: tuple[str, EmbeddedEngine]) -> None:
    for context, found in (("training", ["twice"]), ("eval", [])):
        assert names(theirs(stores, f"datasets.context = '{context}'")) == found
        assert names(ours(stores, f"datasets.context = '{context}'")) == ["twice"]


def test_artifacts_are_named_by_their_run(stores: tuple[str, EmbeddedEngine]) -> None:
    text = "artifact_uri LIKE 'runs:/%'"
    assert names(theirs(stores, text)) == []
    assert len(ours(stores, text)) == len(RUNS)


def test_unknown_experiments(stores: tuple[str, EmbeddedEngine]) -> None:
    for wrong in ({"experiment_ids": ["999"]}, {"experiment_ids": None, "experiment_names": ["nobody"]}):
        assert len(theirs(stores, **wrong)) == 0
        with pytest.raises(NotFoundError):
            ours(stores, **wrong)


def test_arguments_in_conflict(stores: tuple[str, EmbeddedEngine]) -> None:
    for wrong in ({"search_all_experiments": True}, {"max_results": -1}, {"run_view_type": 9}, {"experiment_ids": "1"}):
        theirs(stores, **wrong)
        with pytest.raises(InvalidInputError):
            ours(stores, **wrong)


def test_an_empty_list_finds_nothing(stores: tuple[str, EmbeddedEngine]) -> None:
    import mlflow

    mlflow.set_experiment(experiment_id=stores[0])
    assert len(theirs(stores, experiment_ids=[])) == len(RUNS)
    assert len(ours(stores, experiment_ids=[])) == 0
    # Beside a filled one it says nothing, in both.
    for question in ({"experiment_names": []}, {"experiment_ids": [], "experiment_names": ["differences"]}):
        expected = theirs(stores, **question)["run_id"].tolist()
        assert len(expected) == len(RUNS)
        assert ours(stores, **question)["run_id"].tolist() == expected


def test_each_difference_is_in_the_table() -> None:
    """A row of the table for each test of a difference, in this order."""
    section = PAGE.read_text(encoding="utf-8").split("### Where it differs from MLflow")[1].split("\n## ")[0]
    tests = [name for name in globals() if name.startswith("test_")]
    named = [line.rsplit("| `", 1)[1].removesuffix("` |") for line in section.splitlines() if line.endswith("` |")]
    aside = {"test_refused_by_both", "test_orders_refused_by_both", "test_each_difference_is_in_the_table"}
    assert [name for name in tests if name not in aside] == named
