"""Models in plain Python that the tests save; a module of its own, as a user's would be."""

from __future__ import annotations

import random


class Scorer:
    """Counts words of a list; keeps no state but its arguments and a file."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight
        self.words: set[str] = set()

    def load_files(self, files):
        self.words = set(files["words.txt"].read_text().split())

    def predict(self, frame):
        return [self.weight * sum(w in self.words for w in text.split()) for text in frame["text"]]


class Mean:
    """Learns a number and writes it down."""

    def __init__(self) -> None:
        self.mean = 0.0

    def save_files(self, folder):
        (folder / "mean.txt").write_text(str(self.mean))

    def load_files(self, files):
        self.mean = float(files["mean.txt"].read_text())

    def predict(self, frame):
        return frame["x"] - self.mean


class Forgetful:
    """Learns a number and keeps it to itself."""

    def __init__(self) -> None:
        self.mean = 0.0

    def predict(self, frame):
        return frame["x"] - self.mean


class Dice:
    """Never gives the same twice."""

    def predict(self, frame):
        return [random.random() for _ in range(len(frame))]


class TwoArguments:
    def predict(self, context, frame):
        return frame


class Failing:
    def predict(self, frame):
        raise RuntimeError("no luck")
