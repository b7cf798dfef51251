"""One server for all tests of this folder; each test has experiments of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .serving import Server, start


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start(tmp_path_factory.mktemp("server") / "wh")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def new_name() -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f"experiment-{next(numbers)}"


@pytest.fixture
def experiment(server: Server, new_name: Callable[[], str]) -> str:
    """The id of an experiment of the test's own."""
    return str(server.post("experiments/create", name=new_name())["experiment_id"])


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """MLflow's own client, set to the server."""
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(server.uri)
    yield mlflow.MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(before)
