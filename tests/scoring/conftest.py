"""A warehouse with a model, and rows to score."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from mlwarehouse import Warehouse

N_ROWS = 3000


@pytest.fixture(scope="package")
def warehouse(tmp_path_factory: pytest.TempPathFactory):
    """``line`` is ``2 a + b``, of two versions that predict the same."""
    made = Warehouse(tmp_path_factory.mktemp("scoring") / "wh", committer="off", capture_code=False)
    model = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, 1.0]]))
    example = pd.DataFrame({"a": [1.0], "b": [2.0]})
    for _ in range(2):
        with made.start_run(experiment="scoring") as run:
            logged = made.log_model(
                model, init_args={"in_features": 2, "out_features": 1, "bias": False}, input_example=example, run=run
            )
        made.register_model(logged.model_uri, "line")
    yield made
    made.close()


@pytest.fixture(scope="package")
def rows() -> pd.DataFrame:
    """Integers that float32 holds exactly."""
    frame = pd.DataFrame({"id": [f"r{i}" for i in range(N_ROWS)], "a": range(N_ROWS), "b": range(N_ROWS)})
    return frame.astype({"a": "float64", "b": "float64"})
