"""`log_batch`: points, params and tags together, all checked before any is logged."""

from __future__ import annotations

import mlflow.entities
import pytest

from mlwarehouse import Metric, Warehouse
from mlwarehouse.errors import InvalidInputError, ParamConflictError, RunFinishedError


def ask(warehouse: Warehouse, question: str) -> list[dict]:
    return warehouse.engine().query(question, reading=warehouse.reading()).to_pylist()


def test_a_batch_of_mlflows_entities_and_of_ours(warehouse):
    with warehouse.start_run() as run:
        run.log_batch(
            metrics=[
                mlflow.entities.Metric("loss", 0.5, 1_700_000_000_000, 1),
                Metric("loss", 0.25, 1_700_000_001_000, 2),
            ],
            params=[mlflow.entities.Param("lr", "0.1")],
            tags=[mlflow.entities.RunTag("team", "nlp")],
        )
        run.log_batch(params={"lr": 0.1, "dim": 64}, tags={"team": "vision"})
        run.log_batch()
    assert ask(warehouse, "SELECT key, value, step, epoch_ms(event_at) AS at FROM metrics ORDER BY step") == [
        {"key": "loss", "value": 0.5, "step": 1, "at": 1_700_000_000_000},
        {"key": "loss", "value": 0.25, "step": 2, "at": 1_700_000_001_000},
    ]
    assert ask(warehouse, "SELECT key, value FROM params ORDER BY key") == [
        {"key": "dim", "value": "64"},
        {"key": "lr", "value": "0.1"},
    ]
    assert ask(warehouse, "SELECT value FROM tags WHERE key = 'team'") == [{"value": "vision"}]


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (
            {"metrics": [Metric("x", "high", 0, 0)]},
            InvalidInputError,
            r"can't be logged as a metric \(could not convert",
        ),
        ({"metrics": [Metric("x", 1.0, 0, 0.5)]}, InvalidInputError, "can't be logged as a metric"),
        ({"metrics": [Metric("", 1.0, 0, 0)]}, InvalidInputError, "A metric's key must be text"),
        ({"metrics": [Metric("x", 1.0, 0, 2**63)]}, InvalidInputError, "`x` has a step or time beyond 64 bits"),
        ({"metrics": [("x", 1.0)]}, InvalidInputError, "has no attribute 'key'"),
        ({"params": ["lr"]}, InvalidInputError, "A param can't be logged .* pass a dict, or objects"),
        ({"params": {"lr": 2}}, ParamConflictError, r"is `1` and was set again to `2`"),
        (
            {"params": [mlflow.entities.Param("a", "1"), mlflow.entities.Param("a", "2")]},
            ParamConflictError,
            "Param `a` .* is `1` and was set again to `2`",
        ),
        ({"tags": {"": 1}}, InvalidInputError, "A tag's name must be text"),
    ],
)
def test_a_batch_is_logged_wholly_or_not_at_all(warehouse, batch, error, message):
    fine = {"metrics": [Metric("y", 1.0, 0, 0)], "params": {"p": 1}, "tags": {"t": 1}}
    with warehouse.start_run() as run:
        run.log_param("lr", 1)
        with pytest.raises(error, match=message):
            run.log_batch(**(fine | batch))
    assert ask(warehouse, "SELECT count(*) AS n FROM metrics") == [{"n": 0}]
    assert ask(warehouse, "SELECT key FROM params") == [{"key": "lr"}]
    assert ask(warehouse, "SELECT count(*) AS n FROM tags WHERE key = 't'") == [{"n": 0}]
    with pytest.raises(RunFinishedError):
        run.log_batch(**fine)
