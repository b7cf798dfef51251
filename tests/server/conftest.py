"""One server for all tests of this folder; each test has experiments of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .serving import Server, mlflow_set_to, start


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start(tmp_path_factory.mktemp("server") / "wh", "--sql-mib", "64", "--sql-seconds", "600")
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
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    with mlflow_set_to(server.uri) as client:
        yield client
