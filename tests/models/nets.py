"""Models that the tests save; a module of its own, as a user's would be."""

from __future__ import annotations

import torch
from torch import nn


class Mlp(nn.Module):
    def __init__(self, n_in: int, n_out: int, hidden: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_in, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, n_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class Tied(nn.Module):
    """The output layer is the embedding."""

    def __init__(self, words: int = 10, dim: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, dim)
        self.head = nn.Linear(dim, words, bias=False)
        self.head.weight = self.embedding.weight
        rope = torch.arange(6.0)
        self.register_buffer("front", rope[:3])
        self.register_buffer("middle", rope[2:5])

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(tokens).mean(dim=1))


class Sentiment(nn.Module):
    """Takes text; needs its vocabulary."""

    def __init__(self, dim: int = 3) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(20, dim)
        self.head = nn.Linear(dim, 1)
        self.vocabulary: dict[str, int] = {}

    def load_files(self, files):
        words = files["vocabulary.txt"].read_text().split()
        self.vocabulary = {w: i + 1 for i, w in enumerate(words)}

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.head(self.embedding(tokens)))

    def predict(self, frame):
        length = max(len(t.split()) for t in frame["text"])
        rows = [[self.vocabulary.get(w, 0) for w in t.split()] for t in frame["text"]]
        padded = [r + [0] * (length - len(r)) for r in rows]
        return self(torch.tensor(padded))


class Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean(dim=(2, 3))


class Labels(nn.Module):
    """Returns text and numbers by name."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def predict(self, frame):
        score = self.scale * torch.tensor(frame["x"].to_numpy())
        return {"label": ["high" if s > 1 else "low" for s in score], "score": score}


class Custom(nn.Module):
    """What `predict` returns is up to the test."""

    returns = None

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def predict(self, frame):
        return type(self).returns(frame)


def local_class() -> type[nn.Module]:
    class Hidden(nn.Module):
        pass

    return Hidden
