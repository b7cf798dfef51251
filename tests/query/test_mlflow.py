"""The same runs in MLflow's own store and in our tables: the same searches must give the same frames."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mlwarehouse import query
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.entities import ViewType
from mlwarehouse.tables import TABLES
from tests.query.conftest import fill
from tests.query.peer import FIRST, assert_same, empty_rows, log_to_mlflow, log_to_tables, mlflow_frame

# SQLAlchemy's word about how MLflow uses it.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

N_RUNS = 30


def plan() -> list[dict[str, Any]]:
    """Runs with all that is awkward: ties, gaps, NaN, infinities, odd letters, several points a metric."""
    runs = []
    for n in range(N_RUNS):
        metrics: list[tuple[str, float, int, int]] = []
        if n % 4:
            metrics.append(("loss", [0.5, 0.25, math.nan, 1.5, math.inf, -math.inf][n % 6], 0, FIRST + n))
        if n % 3 == 0:
            metrics += [("val/acc 1", n / 8, step, FIRST + step) for step in (2, 0, 1)]
        if n % 5 == 0:
            # At one step the later time counts, at one time the larger value.
            metrics += [("tie", 1.0, 7, FIRST + 9), ("tie", 3.0, 7, FIRST + 5), ("tie", 2.0, 7, FIRST + 9)]
        params = {"lr": ["0.1", "0.01", "1e-3", "auto"][n % 4]}
        if n % 2:
            params["Ünï çode/ключ"] = ["ß", "it's", 'say "x"', "a%b_c"][n % 4]
        if n % 7 == 0:
            params["optional"] = "10" if n % 2 else "9"
        tags = {"team": ["nlp", "NLP", "vision"][n % 3]}
        if n % 6 == 0:
            tags["my.dotted.tag"] = f"v{n}"
        runs.append(
            {
                "start": FIRST + 1000 * (n // 2),
                "end": None if n % 8 == 0 else FIRST + 1000 * n + 500,
                "status": "RUNNING" if n % 8 == 0 else ["FINISHED", "FAILED", "KILLED"][n % 3],
                "name": f"run {n % 10}",
                "metrics": metrics,
                "params": params,
                "tags": tags,
                "deleted": n in (11, 22),
                "datasets": [("yelp" if n % 2 else "imdb", f"d{n % 3}", "train" if n % 4 else "eval")]
                if n % 5 == 1
                else [],
            }
        )
    return runs


@pytest.fixture(scope="module")
def stores(mlflow_client: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str, EmbeddedEngine]]:
    folder = tmp_path_factory.mktemp("mlflow")
    experiment_id = mlflow_client.create_experiment("peer", artifact_location=str(folder / "artifacts"))
    rows = empty_rows({experiment_id: "peer"})
    for run in plan():
        run_id = log_to_mlflow(mlflow_client, experiment_id, run)
        log_to_tables(rows, run_id, experiment_id, run, mlflow_client)
    engine = EmbeddedEngine(folder / "tables")
    engine.create_tables(TABLES)
    fill(engine, rows)
    yield mlflow_client, experiment_id, engine
    engine.close()


FILTERS = [
    "",
    "metrics.loss < 1",
    "metrics.loss > 0.3",
    "metrics.loss >= 0.25 and metrics.loss <= 1.5",
    "metrics.loss != 0.5",
    "metrics.loss = 0.25",
    "metrics.`val/acc 1` > 1.0",
    'metrics."val/acc 1" > 1.0',
    "metric.tie = 2",
    "params.lr = '0.1'",
    "params.lr = \"0.01\" AND tags.team = 'NLP'",
    "params.lr != '0.1'",
    "params.lr LIKE '0%'",
    "param.lr ILIKE 'AU%'",
    "params.`Ünï çode/ключ` = 'ß'",
    "params.`Ünï çode/ключ` LIKE 'a%'",
    "parameter.optional = '9'",
    "params.optional IS NULL",
    "params.optional IS NOT NULL AND metrics.tie > 1",
    "params.nobody IS NULL",
    "tags.team LIKE 'n%'",
    "tags.team ILIKE 'n%'",
    "tags.team != 'nlp'",
    "tag.my.dotted.tag = 'v6'",
    "tags.`my.dotted.tag` LIKE 'v1%'",
    "tags.`mlflow.parentRunId` = 'nobody'",
    "tags.mlflow.runName = 'run 3'",
    "tags.nobody IS NULL",
    "attributes.status = 'FINISHED'",
    "status != 'FINISHED'",
    "attr.status LIKE 'F%'",
    "attribute.run_name = 'run 3'",
    "run_name LIKE 'run _'",
    "attributes.`Run name` = 'run 4'",
    f"start_time > {FIRST + 3000}",
    f"attributes.start_time <= {FIRST + 3000}",
    f"start_time = {FIRST + 3000}",
    f"start_time != {FIRST + 3000}",
    f"end_time >= {FIRST + 20500} AND created < {FIRST + 12000}",
    "datasets.name = 'yelp'",
    "dataset.digest IN ('d0', 'd1')",
    "datasets.name LIKE 'i%' AND datasets.context = 'eval'",
    "datasets.context != 'eval'",
    "datasets.name NOT IN ('imdb')",
]

ORDERS: list[list[str]] = [
    ["metrics.loss ASC"],
    ["metrics.loss DESC"],
    ["metrics.`val/acc 1` DESC", "params.lr"],
    ["params.lr ASC", "metrics.loss"],
    ["params.optional"],
    ["params.optional DESC"],
    ["tags.team DESC", "attributes.start_time ASC"],
    ["attributes.end_time"],
    ["end_time DESC"],
    ["status ASC", "run_id DESC"],
    ["attribute.run_name", "metrics.tie"],
    ["tags.`my.dotted.tag` asc"],
    ["start_time ASC"],
]


@pytest.mark.parametrize("text", FILTERS)
def test_filters(stores: tuple[Any, str, EmbeddedEngine], text: str) -> None:
    _, experiment_id, engine = stores
    theirs = mlflow_frame([experiment_id], filter_string=text)
    assert_same(query.search_runs(engine, experiment_ids=[experiment_id], filter_string=text), theirs)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_orders(stores: tuple[Any, str, EmbeddedEngine], order: list[str]) -> None:
    _, experiment_id, engine = stores
    theirs = mlflow_frame([experiment_id], order_by=order)
    assert_same(query.search_runs(engine, experiment_ids=[experiment_id], order_by=order), theirs)


@pytest.mark.parametrize("view_type", list(ViewType))
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages(stores: tuple[Any, str, EmbeddedEngine], view_type: ViewType, limit: int) -> None:
    _, experiment_id, engine = stores
    theirs = mlflow_frame([experiment_id], run_view_type=int(view_type), max_results=limit)
    ours = query.search_runs(engine, experiment_ids=[experiment_id], run_view_type=view_type, max_results=limit)
    assert_same(ours, theirs)


def test_get_run(stores: tuple[Any, str, EmbeddedEngine]) -> None:
    client, experiment_id, engine = stores
    for theirs in client.search_runs([experiment_id], run_view_type=int(ViewType.ALL)):
        ours = query.get_run(engine, None, theirs.info.run_id)
        for name in ("run_id", "experiment_id", "run_name", "status", "start_time", "end_time", "lifecycle_stage"):
            assert getattr(ours.info, name) == getattr(theirs.info, name), name
        assert dict(ours.data.params) == theirs.data.params
        assert dict(ours.data.tags) == theirs.data.tags
        assert ours.data.metrics.keys() == theirs.data.metrics.keys()
        for key, value in theirs.data.metrics.items():
            expected = math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value
            np.testing.assert_equal(ours.data.metrics[key], expected)
