"""Model packages to score with."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from mlwarehouse.models import Field, ModelPackage, Signature, save_model

NETS = '''
import torch
from torch import nn


class Labels(nn.Module):
    """Text in, text and numbers out."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def predict(self, frame):
        sizes = [float(len(t)) * float(self.scale) for t in frame["text"]]
        return {
            "label": ["long" if s > 3 else "short" for s in sizes],
            "score": torch.tensor(sizes, dtype=torch.float64),
            "is_long": torch.tensor([s > 3 for s in sizes]),
            "parts": torch.tensor([[s, 2 * s] for s in sizes], dtype=torch.float64),
        }


class Whereabouts(nn.Module):
    """Tells in which process and with how many threads a row was predicted, and how many rows came at once."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.tensor(0.0))
        self.made = id(self)

    def predict(self, frame):
        import os

        n = len(frame)
        return {
            "process": torch.full((n,), os.getpid(), dtype=torch.int64),
            "model": torch.full((n,), self.made, dtype=torch.int64),
            "threads": torch.full((n,), torch.get_num_threads(), dtype=torch.int64),
            "rows": torch.full((n,), n, dtype=torch.int64),
            "grad": torch.tensor([torch.is_grad_enabled()] * n),
        }


class Pictures(nn.Module):
    """Decodes bytes by itself: each byte is a pixel, and gives what is promised as many kinds of output."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.tensor(0.0))

    def predict(self, frame):
        pixels = [list(picture) for picture in frame["picture"]]
        return {
            "thumbnail": [bytes(p[:1]) for p in pixels],
            "grid": [[[float(v)] for v in p] for p in pixels],
            "words": [[str(v) for v in p] for p in pixels],
        }


class Picky(nn.Module):
    """Doubles, and fails where there is a negative number; `calls` counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.tensor(0.0))
        self.calls = 0

    def predict(self, frame):
        self.calls += 1
        if (frame["x"] < 0).any():
            raise ValueError("no negative numbers, please")
        return frame["x"] * 2
'''


@pytest.fixture(scope="session")
def linear(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """``2 a + 3 b + 1``."""
    model = torch.nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, 3.0]]))
        model.bias.fill_(1.0)
    signature = Signature((Field("a", "double"), Field("b", "double")), (Field("prediction", "double"),))
    folder = tmp_path_factory.mktemp("models") / "linear"
    return save_model(folder, model, init_args={"in_features": 2, "out_features": 1}, signature=signature)


@pytest.fixture(scope="session")
def nets(tmp_path_factory: pytest.TempPathFactory):
    """A module of a user's own, whose source goes with the model; workers can't import it."""
    path = tmp_path_factory.mktemp("code") / "scoring_nets.py"
    path.write_text(NETS)
    spec = importlib.util.spec_from_file_location("scoring_nets", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scoring_nets"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["scoring_nets"]


@pytest.fixture(scope="session")
def labels(nets, tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """Text in; text, a number, a boolean and a list out."""
    signature = Signature(
        (Field("text", "string"),),
        (Field("label", "string"), Field("score", "double"), Field("is_long", "boolean"), Field("parts", "double", 1)),
    )
    return save_model(tmp_path_factory.mktemp("models") / "labels", nets.Labels(), signature=signature)


@pytest.fixture(scope="session")
def whereabouts(nets, tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """Tells where it ran."""
    names = ("process", "model", "threads", "rows")
    signature = Signature((Field("x", "long"),), (*(Field(name, "long") for name in names), Field("grad", "boolean")))
    return save_model(tmp_path_factory.mktemp("models") / "whereabouts", nets.Whereabouts(), signature=signature)


@pytest.fixture(scope="session")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """A model without a signature: the sum of its columns, doubled."""
    model = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(2.0)
    folder: Path = tmp_path_factory.mktemp("models") / "unsigned"
    return save_model(folder, model, init_args={"in_features": 2, "out_features": 1, "bias": False})


@pytest.fixture(scope="session")
def picky(nets, tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """Fails on a batch in which there is a negative number."""
    signature = Signature((Field("x", "long"),), (Field("prediction", "long"),))
    return save_model(tmp_path_factory.mktemp("models") / "picky", nets.Picky(), signature=signature)


@pytest.fixture(scope="session")
def pictures(nets, tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """Bytes in; bytes, lists of lists, and lists of text out."""
    outputs = (Field("thumbnail", "binary"), Field("grid", "float", 2), Field("words", "string", 1))
    signature = Signature((Field("picture", "binary"),), outputs)
    return save_model(tmp_path_factory.mktemp("models") / "pictures", nets.Pictures(), signature=signature)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """Images of 2 by 3 in, their pixels in a row out."""
    signature = Signature((Field("image", "float", shape=(2, 3)),), (Field("pixels", "float", shape=(6,)),))
    return save_model(tmp_path_factory.mktemp("models") / "images", torch.nn.Flatten(), signature=signature)
