"""A warehouse with two experiments, of which strangers are granted one: what the other holds says `hidden`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlwarehouse import Warehouse


def log_runs(warehouse: Warehouse, experiment: str, names: list[str]) -> None:
    """Log runs that leave rows in each table, with the experiment's name in whatever can hold one."""
    for name in names:
        with warehouse.start_run(experiment=experiment, run_name=f"{experiment}-{name}") as run:
            run.log_params({"p": f"{experiment}-{name}", "lr": 0.1})
            run.log_metrics({"loss": 0.5, f"{experiment}/loss": 0.25}, step=1)
            run.log_metric("loss", 0.4, step=2, context={"subset": experiment})
            run.set_tag("t", experiment)
            run.log_text(experiment, f"{experiment}.txt")
            run.log_input(np.array([1, 2]), name=experiment, context=experiment)


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """Both experiments: in kept folds, in the tables behind them, and in the spool."""
    made = Warehouse(tmp_path_factory.mktemp("locked") / "wh", committer="off", capture_code=False)
    for names in (["first", "second"], ["third"]):
        for experiment in ("open", "hidden"):
            log_runs(made, experiment, names)
        if names[0] == "first":
            made.maintain()
    made.flush()
    for experiment in ("open", "hidden"):
        log_runs(made, experiment, ["fourth"])
    yield made
    made.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path
