"""Questions by chance to MLflow and to us, over the same runs: the same runs come back, in the same order.

Some are asked for whole frames too, of a warehouse at work: its rows lie in three places, taken up into kept folds,
committed since, and not committed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from mlwarehouse import query
from mlwarehouse.engines.base import Reading
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.embedded_states import refresh
from mlwarehouse.errors import FilterError
from mlwarehouse.tables import TABLES
from tests.query.conftest import fill
from tests.query.grammar import Question, plain, plan, question, spelled
from tests.query.peer import assert_same, empty_rows, log_to_mlflow, log_to_tables, mlflow_frame
from tests.views.rows import tables

# SQLAlchemy's word about how MLflow uses it.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

SOAK = bool(os.environ.get("MLWAREHOUSE_SOAK"))
N_WAREHOUSES = 6 if SOAK else 1
N_RUNS = 80 if SOAK else 30
N_BATCHES = 60 if SOAK else 12
QUESTIONS_A_BATCH = 34
FRAME_EVERY = 6 if SOAK else 11


@dataclass(frozen=True)
class Stores:
    """The same runs twice."""

    client: Any
    experiment_ids: list[str]
    run_ids: list[str]
    engine: EmbeddedEngine
    at_work: EmbeddedEngine
    reading: Reading


def build(client: Any, folder: Path, seed: int) -> Stores:
    rng = Random(f"warehouse {seed}")
    names = [f"generated {seed} {n}" for n in range(3)]
    ids = [client.create_experiment(name, artifact_location=str(folder / "artifacts")) for name in names]
    rows = empty_rows(dict(zip(ids, names, strict=True)))
    run_ids: list[str] = []
    for run in plan(rng, N_RUNS):
        experiment_id = rng.choice(ids)
        if run["parent"] and run_ids:
            run["tags"]["mlflow.parentRunId"] = rng.choice(run_ids)
        run_ids.append(log_to_mlflow(client, experiment_id, run))
        log_to_tables(rows, run_ids[-1], experiment_id, run, client)
    engine, at_work = EmbeddedEngine(folder / "one" / "tables"), EmbeddedEngine(folder / "two" / "tables")
    engine.create_tables(TABLES)
    fill(engine, rows)
    at_work.create_tables(TABLES)
    early: dict[str, list[dict[str, Any]]] = {"experiment_events": rows.pop("experiment_events")}
    late: dict[str, list[dict[str, Any]]] = {}
    waiting: dict[str, list[dict[str, Any]]] = {}
    for table, given in rows.items():
        for number, row in enumerate(given):
            place = run_ids.index(row["run_id"])
            part = early if place < N_RUNS // 2 else late if place < N_RUNS * 4 // 5 else waiting
            if table == "metrics" and number % 3 == 0:
                part = waiting
            part.setdefault(table, []).append(row)
    fill(at_work, early)
    refresh(at_work.tables, least_rows=1)
    fill(at_work, late)
    reading = Reading(overlay=tables(waiting))
    assert at_work.with_kept(reading).kept is not None
    return Stores(client, ids, run_ids, engine, at_work, reading)


@pytest.fixture(scope="module", params=range(N_WAREHOUSES))
def stores(
    request: pytest.FixtureRequest, mlflow_client: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stores]:
    made = build(mlflow_client, tmp_path_factory.mktemp("generated"), request.param)
    yield made
    made.engine.close()
    made.at_work.close()


def theirs(
    stores: Stores, asked: Question, text: str, order: list[str], token: str | None = None
) -> tuple[list[str], str]:
    """MLflow's runs, and the token of the page after them."""
    ids = [stores.experiment_ids[n] for n in asked.experiments]
    page = stores.client.search_runs(ids, text, asked.view_type, asked.limit, order, token)
    return [run.info.run_id for run in page], page.token


def ours(stores: Stores, asked: Question, text: str, order: list[str], *, at_work: bool = False, **options: Any) -> Any:
    return query.search_runs(
        stores.at_work if at_work else stores.engine,
        stores.reading if at_work else None,
        experiment_ids=[stores.experiment_ids[n] for n in asked.experiments],
        filter_string=text,
        run_view_type=asked.view_type,
        max_results=asked.limit,
        order_by=order,
        unknown_keys="ignore",
        **options,
    )


@pytest.mark.parametrize("batch", range(N_BATCHES))
def test_generated_questions(stores: Stores, batch: int) -> None:
    rng = Random(f"questions {batch}")
    n_found = 0
    for number in range(QUESTIONS_A_BATCH):
        asked = question(rng, stores.run_ids)
        text, order = spelled(rng, asked)
        expected = refused = None
        try:
            expected, _ = theirs(stores, asked, text, order)
        except MlflowException as error:
            # A spelling that MLflow doesn't take; the question itself it must answer.
            refused = error
            expected, _ = theirs(stores, asked, *plain(asked))
        try:
            found = ours(stores, asked, text, order, columns=["run_id"])["run_id"].tolist()
        except FilterError:
            if refused is not None:
                continue
            raise
        assert found == expected, (text, order, asked)
        n_found += bool(expected)
        if number % FRAME_EVERY == 0 and refused is None:
            frame = mlflow_frame(
                [stores.experiment_ids[n] for n in asked.experiments],
                filter_string=text,
                order_by=order,
                run_view_type=asked.view_type,
                max_results=asked.limit,
            )
            assert_same(ours(stores, asked, text, order, at_work=True), frame)
    assert n_found > QUESTIONS_A_BATCH // 4, "questions that find nothing show little"


@pytest.mark.parametrize("seed", range(30 if SOAK else 4))
def test_pages(stores: Stores, seed: int) -> None:
    """MLflow's pages by token are ours by offset."""
    rng = Random(f"pages {seed}")
    asked = question(rng, stores.run_ids)
    asked = Question(asked.clauses[:1], asked.order, 3, rng.choice([3, 7, 12]), (0, 1, 2))
    text, order = plain(asked)
    token, offset = None, 0
    while True:
        expected, token = theirs(stores, asked, text, order, token)
        found = ours(stores, asked, text, order, columns=["run_id"], offset=offset)["run_id"].tolist()
        assert found == expected
        offset += asked.limit
        if not token:
            break
    rest = ours(stores, asked, text, order, columns=["run_id"], offset=offset)
    assert len(rest) == 0
