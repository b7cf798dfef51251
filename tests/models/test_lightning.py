"""Lightning modules: eager modules whose arguments are the hyperparameters that they have kept."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULE = '''
import lightning
import torch


class Classifier(lightning.LightningModule):
    """Keeps its arguments."""

    def __init__(self, n_in: int, hidden: int = 4, loss: str = "mse") -> None:
        super().__init__()
        self.save_hyperparameters()
        self.body = torch.nn.Sequential(torch.nn.Linear(n_in, hidden), torch.nn.Linear(hidden, 1))

    def forward(self, x):
        return self.body(x)

    def training_step(self, batch, _):
        x, y = batch
        return torch.nn.functional.mse_loss(self(x)[:, 0], y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Silent(Classifier):
    """Keeps nothing."""

    def __init__(self, n_in: int) -> None:
        lightning.LightningModule.__init__(self)
        self.body = torch.nn.Linear(n_in, 1)
'''
TRAIN = """
import pathlib, sys, warnings
warnings.simplefilter("ignore")
import lightning, torch
import pandas as pd
from own_lightning import Classifier, Silent
from mlwarehouse.models import load_model, load_predictor, save_model

x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x.sum(dim=1)), batch_size=4)
model = Classifier(3, hidden=5)
trainer = lightning.Trainer(
    max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(model, data)
print(save_model("m", model, input_example=x).options["init_args"])
try:
    save_model("silent", Silent(3))
except Exception as error:
    print(type(error).__name__, error)

# Lightning is there, and the module that holds the class isn't any more.
del sys.modules["own_lightning"]
pathlib.Path("own_lightning.py").unlink()
loaded = load_model("m")
print(type(loaded) is not Classifier, not loaded.training, torch.equal(loaded(x), model.eval()(x)))
predicted = load_predictor("m").predict(pd.DataFrame(x.numpy()))["prediction"]
print(torch.equal(torch.tensor(predicted.to_numpy()), model(x).detach()[:, 0]))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What one process says that trains, saves and loads: importing Lightning takes longer than all else here."""
    place = tmp_path_factory.mktemp("lightning")
    (place / "own_lightning.py").write_text(MODULE)
    (place / "train.py").write_text(TRAIN)
    done = subprocess.run([sys.executable, "train.py"], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_trained_module_comes_back_with_the_arguments_that_it_kept(said):
    assert said[0] == "{'n_in': 3, 'hidden': 5, 'loss': 'mse'}"
    assert said[2:] == ["True True True", "True"]


def test_one_that_kept_none_says_what_is_missing(said):
    assert said[1].startswith("ModelError")
    assert "init_args=" in said[1]
