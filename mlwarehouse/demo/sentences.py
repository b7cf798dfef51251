"""The demo's data: film-review sentences with their polarity (Pang and Lee, 2005), and a noisy table to score."""

from __future__ import annotations

import gzip
import random
from dataclasses import dataclass
from importlib import resources

import pandas as pd

HOLD_OUT_SHARE = 0.2
DROP_RATES = (0.0, 0.1, 0.2, 0.3, 0.4)
"""Shares of words that are dropped from a sentence in the table to score: how robust is a model?"""

COPIES = 10
"""Copies of each held-out sentence at each rate; with no word dropped they are the same."""


@dataclass(frozen=True)
class Split:
    """Sentences for training, and others held out.

    Attributes:
        train: Columns ``text`` and ``label`` (1 is positive).
        hold_out: The same.
    """

    train: pd.DataFrame
    hold_out: pd.DataFrame


def load_sentences(seed: int = 0) -> Split:
    """Read the sentences and split them at random, the same way for the same seed."""
    packed = (resources.files("mlwarehouse.demo") / "data" / "sentence_polarity.tsv.gz").read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").splitlines()
    frame = pd.DataFrame(
        {"text": [line.partition("\t")[2] for line in lines], "label": [int(line[0]) for line in lines]}
    )
    shuffled = frame.sample(frac=1.0, random_state=seed).reset_index(drop=True)
    n = int(len(shuffled) * HOLD_OUT_SHARE)
    return Split(train=shuffled.iloc[n:].reset_index(drop=True), hold_out=shuffled.iloc[:n].reset_index(drop=True))


def noisy_reviews(hold_out: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Held-out sentences with words dropped at several rates.

    Returns:
        Over 100,000 rows. Columns: ``row_id`` (text), ``text``, ``drop_rate`` (float64), ``label`` (int64).
    """
    draw = random.Random(seed)
    rows = []
    for number, (text, label) in enumerate(zip(hold_out["text"], hold_out["label"], strict=True)):
        words = text.split()
        for rate in DROP_RATES:
            for copy in range(COPIES):
                kept = [w for w in words if draw.random() >= rate] or words[:1]
                rows.append((f"{number}-{int(rate * 100)}-{copy}", " ".join(kept), rate, int(label)))
    return pd.DataFrame(rows, columns=["row_id", "text", "drop_rate", "label"])
