"""A warehouse whose runs were committed one by one, in the catalog of the tests' Spark session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlwarehouse import Warehouse


def made_of_runs(folder: Path, n_runs: int) -> Warehouse:
    """A warehouse in which each run's points are a file of their own."""
    made = Warehouse(folder, committer="off", capture_code=False)
    for number in range(n_runs):
        with made.start_run(experiment=f"e{number % 2}", run_name=f"run-{number}") as run:
            run.log_params({"lr": 10**-number})
            for step in range(10):
                run.log_metrics({"loss": 1 / (step + 1 + number), "acc": step / 10}, step=step)
        made.flush()
    return made


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    made = made_of_runs(tmp_path_factory.mktemp("with ` and space") / "wh", 3)
    yield made
    made.close()


@pytest.fixture(scope="session")
def shown(spark, warehouse: Warehouse) -> str:
    """The namespace that it is registered under."""
    warehouse.register(spark, "shown")
    return "shown"
