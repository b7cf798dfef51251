"""The demo's training: a grid of runs, each logged as any training script would log it."""

from __future__ import annotations

import copy
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

import mlwarehouse as mlw
from mlwarehouse.demo.model import VOCABULARY_FILE, SentimentClassifier, build_vocabulary
from mlwarehouse.demo.sentences import Split

BATCH = 128


@dataclass(frozen=True)
class Choice:
    """One point of the grid."""

    dim: int
    lr: float
    dropout: float
    seed: int
    epochs: int = 5
    batch_size: int = BATCH


def grid() -> Iterator[Choice]:
    """Twelve choices: two widths, three learning rates, two dropout rates; one seed each."""
    for dim, lr, dropout in itertools.product((32, 96), (0.003, 0.01, 0.03), (0.0, 0.4)):
        yield Choice(dim=dim, lr=lr, dropout=dropout, seed=1)


@dataclass(frozen=True)
class Encoded:
    """Sentences as word numbers, once for all runs of the grid.

    Attributes:
        vocabulary: The words, in the order of their numbers.
        train: Word numbers of each training sentence.
        train_labels: float32 [n_train], 1 for positive.
        hold_out: Word numbers and offsets of the held-out sentences, as the model takes them.
        hold_out_labels: float32 [n_hold_out].
    """

    vocabulary: list[str]
    train: list[torch.Tensor]
    train_labels: torch.Tensor
    hold_out: tuple[torch.Tensor, torch.Tensor]
    hold_out_labels: torch.Tensor


def encode(split: Split) -> Encoded:
    """Build the vocabulary from the training sentences and encode all."""
    vocabulary = build_vocabulary(split.train["text"])
    encoder = SentimentClassifier(len(vocabulary), 1)
    encoder.use_vocabulary(vocabulary)
    return Encoded(
        vocabulary=vocabulary,
        train=[encoder.encode([text])[0] for text in split.train["text"]],
        train_labels=torch.tensor(split.train["label"].to_numpy(), dtype=torch.float32),
        hold_out=encoder.encode(split.hold_out["text"]),
        hold_out_labels=torch.tensor(split.hold_out["label"].to_numpy(), dtype=torch.float32),
    )


def train_one(choice: Choice, split: Split, encoded: Encoded, experiment: str) -> tuple[str, float]:
    """Train and log one run.

    Returns:
        Its run id, and the logged model's accuracy on the held-out sentences: the best of all epochs.
    """
    torch.manual_seed(choice.seed)
    init_args: dict[str, Any] = {"n_words": len(encoded.vocabulary), "dim": choice.dim, "dropout": choice.dropout}
    model = SentimentClassifier(**init_args)
    model.use_vocabulary(encoded.vocabulary)
    optimizer = torch.optim.Adam(model.parameters(), lr=choice.lr)
    loss_of = nn.BCEWithLogitsLoss()
    name = f"bag-{choice.dim}-lr{choice.lr:g}-drop{choice.dropout:g}"
    with mlw.start_run(experiment=experiment, run_name=name, tags={"team": "nlp", "task": "polarity"}) as run:
        mlw.log_params({**asdict(choice), "vocabulary_size": len(encoded.vocabulary)})
        mlw.log_input(split.train, name="sentence-polarity", context="training")
        mlw.log_input(split.hold_out, name="sentence-polarity", context="hold-out")
        step = 0
        best, weights = 0.0, model.state_dict()
        for epoch in range(choice.epochs):
            model.train()
            for words, offsets, labels in _batches(encoded, choice.batch_size):
                optimizer.zero_grad()
                loss = loss_of(model(words, offsets), labels)
                loss.backward()
                optimizer.step()
                mlw.log_metric("train/loss", loss.item(), step=step)
                step += 1
            model.eval()
            with torch.inference_mode():
                logits = model(*encoded.hold_out)
                accuracy = ((logits > 0) == (encoded.hold_out_labels > 0)).float().mean().item()
                val_loss = loss_of(logits, encoded.hold_out_labels).item()
            mlw.log_metrics({"val/loss": val_loss, "val/accuracy": accuracy, "epoch": epoch}, step=step)
            if accuracy > best:
                best, weights = accuracy, copy.deepcopy(model.state_dict())
        model.load_state_dict(weights)
        _log_model(model, init_args, encoded.vocabulary, split.hold_out)
    return run.run_id, best


def _batches(encoded: Encoded, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Word numbers, offsets and labels of the training sentences, in a random order."""
    order = torch.randperm(len(encoded.train))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        sentences = [encoded.train[i] for i in chosen.tolist()]
        lengths = torch.tensor([0, *(len(s) for s in sentences[:-1])])
        yield torch.cat(sentences), lengths.cumsum(0), encoded.train_labels[chosen]


def _log_model(
    model: SentimentClassifier, init_args: dict[str, Any], vocabulary: list[str], hold_out: pd.DataFrame
) -> None:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / VOCABULARY_FILE
        file.write_text("\n".join(vocabulary), encoding="utf-8")
        mlw.log_artifact(file)
        mlw.log_model(
            model,
            "model",
            init_args=init_args,
            extra_files=[file],
            input_example=hold_out[["text"]].head(3),
            requirements=["torch", "pandas"],
        )
