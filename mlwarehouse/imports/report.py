"""What an import says afterwards."""

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
    "logged_models",
    "models",
    "model_versions",
    "model_aliases",
)
"""What is counted."""


@dataclass(frozen=True)
class ImportReport:
    """What an import found and did.

    Attributes:
        kind: The kind of source.
        place: Where it is.
        source_id: The name under which the warehouse knows it.
        is_dry_run: Whether nothing was written; then `added` is what would have been.
        found: How many of each of `COUNTED` the source has.
        added: How many of them weren't there yet. A run, tag or model counts as added also where it changed.
        oddities: All that wasn't as it should be, and what became of each.
    """

    kind: str
    place: str
    source_id: str
    is_dry_run: bool
    found: Mapping[str, int]
    added: Mapping[str, int]
    oddities: Sequence[Oddity]

    def oddity_counts(self) -> dict[str, int]:
        """How many oddities there are of each kind, the most first."""
        return oddity_counts(self.oddities)

    def __str__(self) -> str:
        will = "would add" if self.is_dry_run else "added"
        lines = [f"{self.kind} {self.place}"]
        lines += [
            f"  {name.replace('_', ' ')}: {self.found[name]:,} found, {will} {self.added[name]:,}"
            for name in COUNTED
            if self.found[name]
        ]
        return "\n".join(lines + oddity_lines(self.oddities))
