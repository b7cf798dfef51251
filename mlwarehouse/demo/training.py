"""The demo's training: a grid of runs, each logged as any training script would log it."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

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


def train_one(choice: Choice, split: Split, experiment: str) -> tuple[str, float]:
    """Train and log one run.

    Returns:
        Its run id, and its best accuracy on the held-out sentences.
    """
    torch.manual_seed(choice.seed)
    vocabulary = build_vocabulary(split.train["text"])
    init_args = {"n_words": len(vocabulary), "dim": choice.dim, "dropout": choice.dropout}
    model = SentimentClassifier(**init_args)
    model.use_vocabulary(vocabulary)
    optimizer = torch.optim.Adam(model.parameters(), lr=choice.lr)
    loss_of = nn.BCEWithLogitsLoss()
    name = f"bag-{choice.dim}-lr{choice.lr:g}-drop{choice.dropout:g}"
    with mlw.start_run(experiment=experiment, run_name=name, tags={"team": "nlp", "task": "polarity"}) as run:
        mlw.log_params({**asdict(choice), "vocabulary_size": len(vocabulary)})
        mlw.log_input(split.train, name="sentence-polarity", context="training")
        mlw.log_input(split.hold_out, name="sentence-polarity", context="hold-out")
        held_texts = model.encode(split.hold_out["text"])
        held_labels = torch.tensor(split.hold_out["label"].to_numpy(), dtype=torch.float32)
        step = 0
        best = 0.0
        for epoch in range(choice.epochs):
            model.train()
            for batch in _batches(split.train, choice, epoch):
                words, offsets = model.encode(batch["text"])
                labels = torch.tensor(batch["label"].to_numpy(), dtype=torch.float32)
                optimizer.zero_grad()
                loss = loss_of(model(words, offsets), labels)
                loss.backward()
                optimizer.step()
                mlw.log_metric("train/loss", loss.item(), step=step)
                step += 1
            model.eval()
            with torch.inference_mode():
                logits = model(*held_texts)
                accuracy = ((logits > 0) == (held_labels > 0)).float().mean().item()
                mlw.log_metrics(
                    {"val/loss": loss_of(logits, held_labels).item(), "val/accuracy": accuracy, "epoch": epoch},
                    step=step,
                )
            best = max(best, accuracy)
        _log_model(model, init_args, vocabulary, split.hold_out)
    return run.run_id, best


def _batches(frame: pd.DataFrame, choice: Choice, epoch: int) -> Iterator[pd.DataFrame]:
    shuffled = frame.sample(frac=1.0, random_state=choice.seed * 1000 + epoch)
    for start in range(0, len(shuffled), choice.batch_size):
        yield shuffled.iloc[start : start + choice.batch_size]


def _log_model(
    model: SentimentClassifier, init_args: dict[str, float], vocabulary: list[str], hold_out: pd.DataFrame
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
