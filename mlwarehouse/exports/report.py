"""What an export to a server says afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlwarehouse.imports.base import Oddity, oddity_counts, oddity_lines

COUNTED: tuple[str, ...] = (
    "experiments",
    "runs",
    "params",
    "points",
    "tags",
    "inputs",
    "artifacts",
    "models",
    "model_versions",
    "model_aliases",
)
"""What is counted."""


@dataclass(frozen=True)
class ExportReport:
    """What an export sent.

    Attributes:
        place: The server.
        added: How many of each of `COUNTED` were sent; a run also where something of it was new.
        oddities: What the server couldn't take as it is, and what became of it.
    """

    place: str
    added: Mapping[str, int]
    oddities: Sequence[Oddity]

    def oddity_counts(self) -> dict[str, int]:
        """How many oddities there are of each kind, the most first."""
        return oddity_counts(self.oddities)

    def __str__(self) -> str:
        sent = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in self.added.items() if n)
        return "\n".join([f"{self.place}: {sent or 'nothing new'} sent", *oddity_lines(self.oddities)])
