from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlwarehouse import Warehouse

from .mlflow_http import served


@pytest.fixture(scope="session")
def trial_data() -> Path:
    """The folder of stores that others produced, with what is in each counted."""
    place = os.environ.get("MLWAREHOUSE_TRIAL_DATA")
    if not place:
        pytest.skip("MLWAREHOUSE_TRIAL_DATA names no folder")
    return Path(place)


@pytest.fixture(scope="module")
def mlflow_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of MLflow's; what one file's tests bring there is no other's."""
    with served(tmp_path_factory.mktemp("mlflow-server")) as address:
        yield address


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    opened = Warehouse(tmp_path / "wh", committer="off")
    yield opened
    opened.close()


@pytest.fixture
def ask(warehouse: Warehouse) -> Callable[..., list[dict]]:
    def asked(question: str, **parameters: object) -> list[dict]:
        return warehouse.engine().query(question, reading=warehouse.reading(), parameters=parameters).to_pylist()

    return asked
