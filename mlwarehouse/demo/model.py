"""The demo's model: an embedding bag and a linear layer, in plain PyTorch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import torch
from torch import nn

_WORD = re.compile(r"[a-z0-9']+|[!?]")

UNKNOWN = "<unknown>"
VOCABULARY_FILE = "vocabulary.txt"


def words_of(text: str) -> list[str]:
    """The words of a sentence, in lower case."""
    return _WORD.findall(text.lower())


def build_vocabulary(texts: Iterable[str], *, fewest: int = 2) -> list[str]:
    """The words that occur at least `fewest` times, most frequent first, behind a place for unknown ones."""
    counts = Counter(word for text in texts for word in words_of(text))
    return [UNKNOWN, *(word for word, n in counts.most_common() if n >= fewest)]


class SentimentClassifier(nn.Module):
    """Averages the embeddings of a sentence's words and maps the mean to a logit of being positive."""

    def __init__(self, n_words: int, dim: int, dropout: float = 0.0) -> None:
        """Make an untrained model.

        Args:
            n_words: Size of the vocabulary.
            dim: Width of the embeddings.
            dropout: Share of the mean embedding's entries dropped in training.
        """
        super().__init__()
        self.embedding = nn.EmbeddingBag(n_words, dim, mode="mean")
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, 1)
        self._numbers: dict[str, int] = {}

    def forward(self, words: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Logits of being positive.

        Args:
            words: Word numbers of all sentences behind each other, int64 [n_words].
            offsets: Where each sentence begins, int64 [n_sentences].

        Returns:
            float32 [n_sentences].
        """
        logits: torch.Tensor = self.linear(self.dropout(self.embedding(words, offsets))).squeeze(1)
        return logits

    def use_vocabulary(self, vocabulary: Iterable[str]) -> None:
        """Set the words that the embeddings stand for, in their order."""
        self._numbers = {word: number for number, word in enumerate(vocabulary)}

    def load_files(self, files: Mapping[str, Path]) -> None:
        """Read the vocabulary that was logged with the model."""
        self.use_vocabulary(files[VOCABULARY_FILE].read_text(encoding="utf-8").splitlines())

    def encode(self, texts: Iterable[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Word numbers and offsets of sentences, as `forward` takes them."""
        numbers: list[int] = []
        offsets: list[int] = []
        for text in texts:
            offsets.append(len(numbers))
            numbers.extend(self._numbers.get(word, 0) for word in words_of(text) or [UNKNOWN])
        return torch.tensor(numbers, dtype=torch.int64), torch.tensor(offsets, dtype=torch.int64)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Probabilities of being positive.

        Args:
            frame: Column ``text``.

        Returns:
            Column ``positive`` (float64), a row for each of `frame`.
        """
        words, offsets = self.encode(frame["text"].fillna("").astype(str))
        with torch.inference_mode():
            probability = torch.sigmoid(self(words, offsets))
        return pd.DataFrame({"positive": probability.double().numpy()}, index=frame.index)
